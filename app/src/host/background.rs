//! Work that can wait: threads that give way to those who take images in and draw them.

/// Lets the system run every other thread of this process before the calling one, as far as it has such a notion; Linux only.
/// Measuring a plane takes as long as copying it, and on few cores producers would wait for it.
pub fn give_way() {
    #[cfg(target_os = "linux")]
    {
        // The link names the thread that reads it, e.g. `4711/task/4712`.
        let thread = std::fs::read_link("/proc/thread-self").ok();
        if let Some(thread) = thread.as_deref().and_then(std::path::Path::file_name).and_then(|name| name.to_str()) {
            linux::lower(thread);
        }
    }
}

/// As [`give_way`] for all threads whose name begins with `prefix`: those of a library that starts them by itself.
pub fn give_way_named(prefix: &str) {
    #[cfg(target_os = "linux")]
    for thread in std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten() {
        let name = std::fs::read_to_string(thread.path().join("comm")).unwrap_or_default();
        if let Some(thread) = thread.file_name().to_str().filter(|_| name.starts_with(prefix)) {
            linux::lower(thread);
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = prefix;
}

#[cfg(target_os = "linux")]
mod linux {
    /// Half of the scale: still a fifth of the others' share, so that a busy machine measures too.
    const NICENESS: i32 = 7;

    /// Linux counts niceness per thread.
    pub fn lower(thread: &str) {
        let id = thread.parse().ok().and_then(rustix::process::Pid::from_raw);
        if let Some(id) = id
            && let Err(error) = rustix::process::setpriority_process(Some(id), NICENESS)
        {
            tracing::debug!(%error, "a background thread keeps its priority");
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    #[test]
    fn only_the_calling_thread_gives_way() {
        let niceness = || {
            let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
            // Field 19 of proc(5), counted behind the name in parentheses.
            stat.rsplit_once(')').unwrap().1.split_whitespace().nth(16).unwrap().parse::<i32>().unwrap()
        };
        let before = niceness();
        let of_thread = std::thread::spawn(move || {
            super::give_way();
            niceness()
        });
        assert!(of_thread.join().unwrap() > before);
        assert_eq!(niceness(), before);
    }

    #[test]
    fn threads_give_way_by_the_name_that_they_have() {
        let niceness_of = |id: &str| {
            let stat = std::fs::read_to_string(format!("/proc/self/task/{id}/stat")).unwrap();
            stat.rsplit_once(')').unwrap().1.split_whitespace().nth(16).unwrap().parse::<i32>().unwrap()
        };
        let (tell, told) = std::sync::mpsc::channel();
        let park = |name: &str| {
            let tell = tell.clone();
            let work = move || {
                let link = std::fs::read_link("/proc/thread-self").unwrap();
                tell.send(link.file_name().unwrap().to_str().unwrap().to_owned()).unwrap();
                std::thread::park();
            };
            let thread = std::thread::Builder::new().name(name.into()).spawn(work).unwrap();
            (thread, told.recv().unwrap())
        };
        let (drawing, drawing_id) = park("llvmpipe-0");
        let (other, other_id) = park("llvm");
        let before = niceness_of(&other_id);
        super::give_way_named("llvmpipe");
        assert!(niceness_of(&drawing_id) > before);
        assert_eq!(niceness_of(&other_id), before);
        for thread in [drawing, other] {
            thread.thread().unpark();
            thread.join().unwrap();
        }
    }
}
