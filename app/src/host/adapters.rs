//! GPUs: which there are, and what to tell when there is none.

use std::fmt::Write;

use bevy::tasks::block_on;

/// What to install when nothing can draw.
pub const ADVICE: &str = "install the driver of your GPU, or a software renderer (Debian and Ubuntu: apt-get install \
                          libvulkan1 mesa-vulkan-drivers)";

fn adapters() -> Vec<wgpu::Adapter> {
    let backends = wgpu::Backends::from_env().unwrap_or(wgpu::Backends::all());
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
    descriptor.backends = backends;
    let instance = wgpu::Instance::new(descriptor);
    let mut found = block_on(instance.enumerate_adapters(backends));
    found.sort_by_key(|adapter| rank(adapter.get_info().device_type));
    found
}

/// Real GPUs first, as the renderer chooses.
fn rank(kind: wgpu::DeviceType) -> u8 {
    match kind {
        wgpu::DeviceType::DiscreteGpu => 0,
        wgpu::DeviceType::IntegratedGpu => 1,
        wgpu::DeviceType::Other => 2,
        wgpu::DeviceType::VirtualGpu => 3,
        wgpu::DeviceType::Cpu => 4,
    }
}

/// Whether anything can draw.
pub fn is_any_there() -> bool {
    !adapters().is_empty()
}

/// One adapter in a line: name, driver, backend.
pub fn line(info: &wgpu::AdapterInfo) -> String {
    let kind = match info.device_type {
        wgpu::DeviceType::DiscreteGpu => "discrete GPU",
        wgpu::DeviceType::IntegratedGpu => "integrated GPU",
        wgpu::DeviceType::VirtualGpu => "virtual GPU",
        wgpu::DeviceType::Cpu => "software renderer",
        wgpu::DeviceType::Other => "GPU of unknown kind",
    };
    let driver = [info.driver.as_str(), info.driver_info.as_str()].join(" ");
    format!("{} ({kind}, {}, driver: {})", info.name, info.backend, driver.trim())
}

/// What `--info` prints: version, adapters, and the limits that matter to us.
pub fn describe() -> String {
    let mut text = format!("wellscope {}\n", env!("CARGO_PKG_VERSION"));
    let found = adapters();
    if found.is_empty() {
        let _ = writeln!(text, "no GPU and no software renderer was found: {ADVICE}");
    }
    for (number, adapter) in found.iter().enumerate() {
        let limits = adapter.limits();
        let chosen = if number == 0 { "  <- preferred" } else { "" };
        let _ = writeln!(text, "adapter {number}: {}{chosen}", line(&adapter.get_info()));
        let _ = writeln!(text, "  largest texture side:     {} pixels", limits.max_texture_dimension_2d);
        let _ = writeln!(text, "  planes per texture array: {}", limits.max_texture_array_layers);
        let _ = writeln!(text, "  largest buffer:           {} MiB", limits.max_buffer_size >> 20);
    }
    let _ = write!(text, "choose another one with WGPU_ADAPTER_NAME (part of its name) or WGPU_BACKEND (vulkan, metal, dx12, gl)");
    text
}
