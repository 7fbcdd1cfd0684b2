//! Work that can wait: threads that give way to those who take images in and draw them.

/// Lets the system run every other thread of this process before the calling one, as far as it has such a notion; Linux only.
/// Measuring a plane takes as long as copying it, and on few cores producers would wait for it.
pub fn give_way() {
    #[cfg(target_os = "linux")]
    {
        /// Half of the scale: still a fifth of the others' share, so that a busy machine measures too.
        const NICENESS: i32 = 7;
        // Linux counts niceness per thread; the link names the thread that reads it, e.g. `4711/task/4712`.
        let thread = std::fs::read_link("/proc/thread-self").ok();
        let id = thread.as_deref().and_then(std::path::Path::file_name).and_then(|name| name.to_str()?.parse().ok());
        if let Some(id) = id.and_then(rustix::process::Pid::from_raw)
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
}
