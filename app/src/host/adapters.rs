//! Which GPU draws. Chosen here and not by bevy, so that "there is none" is a sentence instead of a panic.

use std::cmp::Reverse;
use std::fmt::Write;
use std::sync::Arc;

use bevy::prelude::App;
use bevy::render::renderer::{
    RenderAdapter, RenderAdapterInfo, RenderDevice, RenderInstance, RenderQueue, WgpuWrapper,
};
use bevy::render::settings::RenderCreation;
use bevy::tasks::block_on;
use wgpu::{Adapter, AdapterInfo, Backends, DeviceType, Features, Instance, InstanceDescriptor};

use crate::amount::Amount;
use crate::host::{ChosenAdapter, HostError};

/// What to install when nothing can draw.
pub const ADVICE: &str = "install the driver of your GPU, or a software renderer (Debian and Ubuntu: apt-get install \
                          libvulkan1 mesa-vulkan-drivers)";

/// Name of the GPU that an app of [`build_app`](crate::host::build_app) draws with, for people.
pub fn chosen(app: &App) -> String {
    app.world().get_resource::<ChosenAdapter>().map(|chosen| chosen.0.clone()).unwrap_or_default()
}

/// What `--info` prints: version, adapters, and the limits that matter to us.
pub fn describe() -> String {
    let wish = wished_name();
    let mut found = adapters(&instance());
    sort_by_preference(&mut found, wish.as_deref(), name_and_kind);
    let mut text = format!("wellscope {}\n", env!("CARGO_PKG_VERSION"));
    if found.is_empty() {
        let _ = writeln!(text, "{}", no_gpu(None));
    }
    for (number, adapter) in found.iter().enumerate() {
        let (info, limits) = (adapter.get_info(), adapter.limits());
        let is_chosen = number == 0 && wish.as_deref().is_none_or(|wish| has_name(&info.name, wish));
        // Writing to a String cannot fail.
        let _ = writeln!(text, "adapter {number}: {}{}", line(&info), if is_chosen { "  <- chosen" } else { "" });
        let _ = writeln!(text, "  largest texture side:     {} pixels", limits.max_texture_dimension_2d);
        let _ = writeln!(text, "  planes per texture array: {}", limits.max_texture_array_layers);
        let _ = writeln!(text, "  largest buffer:           {} MiB", limits.max_buffer_size >> 20);
        let memory =
            memory_of(adapter, &info).bytes.map_or("unknown".to_owned(), |bytes| format!("{} MiB", bytes >> 20));
        let _ = writeln!(text, "  memory:                   {memory}");
    }
    let _ = write!(
        text,
        "choose another one with WGPU_ADAPTER_NAME (part of its name) or WGPU_BACKEND (vulkan, metal, dx12, gl)"
    );
    text
}

/// One adapter in a line: name, kind, backend, driver.
pub fn line(info: &AdapterInfo) -> String {
    let kind = match info.device_type {
        DeviceType::DiscreteGpu => "discrete GPU",
        DeviceType::IntegratedGpu => "integrated GPU",
        DeviceType::VirtualGpu => "virtual GPU",
        DeviceType::Cpu => "software renderer",
        DeviceType::Other => "GPU of unknown kind",
    };
    let driver = [info.driver.as_str(), info.driver_info.as_str()].join(" ");
    format!("{} ({kind}, {}, driver: {})", info.name, info.backend, driver.trim())
}

/// A GPU that is open for drawing.
pub(super) struct OpenAdapter {
    /// For bevy's render plugin.
    pub creation: RenderCreation,
    /// What was chosen.
    pub chosen: ChosenAdapter,
    /// Its memory.
    pub memory: AdapterMemory,
}

/// Memory of a GPU.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct AdapterMemory {
    /// Bytes; `None` where the system does not tell.
    pub bytes: Option<u64>,
    /// The processor draws, so that textures are host memory.
    pub is_host_memory: bool,
}

/// Textures for images on a GPU that does not tell its size, and on none: with a software renderer each byte of them is a
/// byte of host memory.
const MODEST_TEXTURE_BUDGET_BYTES: u64 = 512 << 20;

impl AdapterMemory {
    /// Bytes of textures for images, half of the GPU's memory unless `wish` says otherwise.
    ///
    /// # Errors
    /// A percentage of a memory whose size is not known.
    pub(super) fn texture_budget(self, wish: Option<Amount>) -> Result<u64, HostError> {
        match wish {
            None if self.is_host_memory => Ok(MODEST_TEXTURE_BUDGET_BYTES),
            None => Ok(self.bytes.map_or(MODEST_TEXTURE_BUDGET_BYTES, |bytes| bytes / 2)),
            Some(wish) => wish.bytes_of(self.bytes).ok_or_else(|| HostError::Failed {
                reason: "this GPU does not tell how much memory it has, so --vram-limit must be in bytes, e.g. 4GiB"
                    .to_owned(),
            }),
        }
    }
}

fn memory_of(adapter: &Adapter, info: &AdapterInfo) -> AdapterMemory {
    let is_host_memory = info.device_type == DeviceType::Cpu;
    // SAFETY: the handle is used in this function only, to read properties of a physical device that lives as long as the
    // adapter that we hold; nothing is changed or destroyed through it.
    let bytes = unsafe {
        adapter.as_hal::<wgpu::hal::api::Vulkan>().map(|vulkan| {
            let instance = vulkan.shared_instance().raw_instance();
            let memory = instance.get_physical_device_memory_properties(vulkan.raw_physical_device());
            let heaps = &memory.memory_heaps[..(memory.memory_heap_count as usize).min(memory.memory_heaps.len())];
            // Bit 0 is VK_MEMORY_HEAP_DEVICE_LOCAL_BIT (Vulkan 1.0).
            heaps.iter().filter(|heap| heap.flags.as_raw() & 1 != 0).map(|heap| heap.size).max().unwrap_or(0)
        })
    };
    AdapterMemory { bytes: bytes.filter(|bytes| *bytes > 0), is_host_memory }
}

/// Opens the best adapter: discrete before integrated before virtual before software; `WGPU_ADAPTER_NAME` (a part of the
/// name) and `WGPU_BACKEND` are honoured.
///
/// # Errors
/// [`HostError::NoGpu`] when there is none, or none of the wished name; [`HostError::Failed`] when every driver refuses.
pub(super) fn open() -> Result<OpenAdapter, HostError> {
    let instance = instance();
    let wish = wished_name();
    let mut found = adapters(&instance);
    if let Some(wish) = &wish {
        found.retain(|adapter| has_name(&adapter.get_info().name, wish));
    }
    sort_by_preference(&mut found, wish.as_deref(), name_and_kind);
    if found.is_empty() {
        return Err(no_gpu(wish));
    }
    let mut refusal = String::new();
    for adapter in found {
        let info = adapter.get_info();
        match block_on(adapter.request_device(&device_wishes(&adapter, &info))) {
            Ok((device, queue)) => {
                tracing::info!("drawing with {}", line(&info));
                let chosen = ChosenAdapter(info.name.clone());
                let memory = memory_of(&adapter, &info);
                let creation = RenderCreation::manual(
                    RenderDevice::from(device),
                    RenderQueue(Arc::new(WgpuWrapper::new(queue))),
                    RenderAdapterInfo(WgpuWrapper::new(info)),
                    RenderAdapter(Arc::new(WgpuWrapper::new(adapter))),
                    RenderInstance(Arc::new(WgpuWrapper::new(instance))),
                );
                return Ok(OpenAdapter { creation, chosen, memory });
            }
            Err(error) => {
                refusal = format!("{} refused to open: {error}", line(&info));
                tracing::warn!("{refusal}");
            }
        }
    }
    Err(HostError::Failed { reason: refusal })
}

fn instance() -> Instance {
    // GL is left out unless WGPU_BACKEND names it: it cannot present without knowing the display, and crashes old drivers.
    let backends = Backends::from_env().unwrap_or(Backends::PRIMARY);
    let descriptor = InstanceDescriptor { backends, ..InstanceDescriptor::new_without_display_handle() };
    #[cfg(not(debug_assertions))]
    let descriptor = {
        let mut descriptor = descriptor;
        // The check of indirect draws costs start-up time on each device, and nothing here draws indirectly. DX12's
        // passes rely on it.
        if !cfg!(windows) {
            descriptor.flags.remove(wgpu::InstanceFlags::VALIDATION_INDIRECT_CALL);
        }
        descriptor
    };
    Instance::new(descriptor)
}

fn adapters(instance: &Instance) -> Vec<Adapter> {
    block_on(instance.enumerate_adapters(Backends::all()))
}

fn wished_name() -> Option<String> {
    std::env::var("WGPU_ADAPTER_NAME").ok().filter(|name| !name.is_empty())
}

fn name_and_kind(adapter: &Adapter) -> (String, DeviceType) {
    let info = adapter.get_info();
    (info.name, info.device_type)
}

fn has_name(name: &str, wish: &str) -> bool {
    name.to_lowercase().contains(&wish.to_lowercase())
}

fn sort_by_preference<T>(adapters: &mut [T], wish: Option<&str>, name_and_kind: impl Fn(&T) -> (String, DeviceType)) {
    // Stable: among equals the driver's own order stays.
    adapters.sort_by_key(|adapter| {
        let (name, kind) = name_and_kind(adapter);
        (Reverse(wish.is_some_and(|wish| has_name(&name, wish))), rank(kind))
    });
}

/// Smaller is better.
fn rank(device_type: DeviceType) -> u8 {
    match device_type {
        DeviceType::DiscreteGpu => 0,
        DeviceType::IntegratedGpu => 1,
        DeviceType::VirtualGpu => 2,
        // OpenGL drivers do not tell what they are.
        DeviceType::Other => 3,
        DeviceType::Cpu => 4,
    }
}

/// Everything that the adapter can do, as bevy asks by default, but nothing experimental.
fn device_wishes(adapter: &Adapter, info: &AdapterInfo) -> wgpu::DeviceDescriptor<'static> {
    let mut features = adapter.features() - Features::all_experimental_mask();
    if info.device_type == DeviceType::DiscreteGpu {
        // Buffers would land in memory that the GPU reads over the bus.
        features.remove(Features::MAPPABLE_PRIMARY_BUFFERS);
    }
    wgpu::DeviceDescriptor {
        label: Some("wellscope"),
        required_features: features,
        required_limits: adapter.limits(),
        ..Default::default()
    }
}

fn no_gpu(wish: Option<String>) -> HostError {
    let reason = match wish {
        Some(wish) => format!("no GPU matches WGPU_ADAPTER_NAME={wish}"),
        None => "no GPU and no software renderer was found".to_owned(),
    };
    HostError::NoGpu { found: reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn real_gpus_go_before_software_and_a_wished_name_before_all() {
        let mut found = vec![
            ("llvmpipe", DeviceType::Cpu),
            ("virtio", DeviceType::VirtualGpu),
            ("Intel", DeviceType::IntegratedGpu),
            ("Large", DeviceType::DiscreteGpu),
        ];
        let read = |(name, kind): &(&str, DeviceType)| ((*name).to_owned(), *kind);
        sort_by_preference(&mut found, None, read);
        assert_eq!(found.iter().map(|(name, _)| *name).collect::<Vec<_>>(), ["Large", "Intel", "virtio", "llvmpipe"]);
        sort_by_preference(&mut found, Some("LLVM"), read);
        assert_eq!(found[0].0, "llvmpipe");
    }

    #[test]
    fn half_of_a_gpu_is_used_and_little_of_the_host() {
        let gpu = AdapterMemory { bytes: Some(8 << 30), is_host_memory: false };
        assert_eq!(gpu.texture_budget(None).unwrap(), 4 << 30);
        assert_eq!(gpu.texture_budget(Some(Amount::Percent(25.0))).unwrap(), 2 << 30);
        let software = AdapterMemory { bytes: Some(24 << 30), is_host_memory: true };
        assert_eq!(software.texture_budget(None).unwrap(), MODEST_TEXTURE_BUDGET_BYTES);
        let unknown = AdapterMemory { bytes: None, is_host_memory: false };
        assert_eq!(unknown.texture_budget(None).unwrap(), MODEST_TEXTURE_BUDGET_BYTES);
        assert_eq!(unknown.texture_budget(Some(Amount::Bytes(7))).unwrap(), 7);
        let error = unknown.texture_budget(Some(Amount::Percent(25.0))).unwrap_err().to_string();
        assert!(error.contains("--vram-limit"), "{error}");
    }

    #[test]
    fn without_a_gpu_the_sentence_tells_what_to_install() {
        let sentence = no_gpu(None).to_string();
        assert!(sentence.contains("mesa-vulkan-drivers"), "{sentence}");
        assert!(no_gpu(Some("x9".into())).to_string().contains("WGPU_ADAPTER_NAME=x9"));
    }
}
