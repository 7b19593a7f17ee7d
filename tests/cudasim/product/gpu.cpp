#include "tests/cudasim/product/gpu.h"

#include <cstring>

extern "C" const annulus::DeviceOps* annulus_device_ops();

namespace annulus::cudasim {

const DeviceOps& product() { return *annulus_device_ops(); }

Gpu::Gpu() { ran(product().open_stream(&stream_)); }

// Memory first: releasing it waits, so that no copy reads what kept_ held. In a simulation that has failed every call
// says so.
Gpu::~Gpu() {
  const bool well = !Simulation::current().failed();
  for (void* const memory : memory_) EXPECT_TRUE(product().release(memory) == 0 || !well);
  EXPECT_TRUE(product().close_stream(stream_) == 0 || !well);
}

void Gpu::ran(DeviceError error) { EXPECT_EQ(error, 0) << product().error_text(error); }

std::byte* Gpu::allocate(int64_t bytes) {
  void* memory = nullptr;
  ran(product().allocate(&memory, bytes));
  memory_.push_back(memory);
  return static_cast<std::byte*>(memory);
}

void Gpu::fetch(void* host, const void* device, int64_t bytes) {
  ran(product().copy(host, device, bytes, stream_));
  ran(product().finish(stream_));
  const auto* const begin = static_cast<const std::byte*>(host);
  fetched_.insert(fetched_.end(), begin, begin + bytes);
}

void in_all_schedules(const std::function<void(Gpu&)>& body) {
  std::vector<std::byte> first;
  for (uint64_t schedule = 0; schedule < kSchedules; ++schedule) {
    SCOPED_TRACE("schedule " + std::to_string(schedule));
    Simulation simulation(SimulationOptions{}.schedule(schedule));
    std::vector<std::byte> fetched;
    try {
      simulation.run(1, [&](int) {
        Gpu gpu;
        body(gpu);
        fetched = gpu.fetched();
      });
    } catch (const DeviceFault& fault) {
      ADD_FAILURE() << fault.what();
      return;
    }
    if (schedule == 0) first = fetched;
    EXPECT_FALSE(fetched.empty());
    EXPECT_TRUE(fetched == first) << "the bits depend on the schedule";
    if (testing::Test::HasFailure()) return;  // once is enough
  }
}

}  // namespace annulus::cudasim
