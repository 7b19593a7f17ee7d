// The messages of which hops consist, between processes: whoever tests first, what was started first arrives first.
#include <gtest/gtest.h>

#include "comm/mpi_group.h"
#include "comm/mpi_wire.h"
#include "tests/support/ranks.h"

namespace annulus::test {
namespace {

constexpr int64_t kBytes = (int64_t{1} << 20) + 5;  // two messages

TEST(MpiWire, TransfersKeepTheOrderInWhichTheyWereStarted) {
  const std::unique_ptr<Group> world = make_mpi_world();
  world->set_timeout(kTestTimeoutSeconds / 2);
  const int next = (world->rank() + 1) % world->size(), previous = (world->rank() + world->size() - 1) % world->size();
  if (world->size() == 1) GTEST_SKIP() << "one process sends nothing";
  const std::unique_ptr<Wire> wire = make_mpi_wire(*world);
  for (const bool last_first : {false, true}) {
    std::vector<std::byte> out[2], in[2];
    std::unique_ptr<Transfer> sends[2], receives[2];
    for (int i = 0; i < 2; ++i) {
      out[i].assign(kBytes, static_cast<std::byte>(10 * i + world->rank()));
      in[i].assign(kBytes, std::byte{99});
      sends[i] = wire->make_transfer(kBytes);
      receives[i] = wire->make_transfer(kBytes);
      sends[i]->start({Payload::kGradient, true, next, 0, 0, kBytes, 0, 0}, out[i].data());
    }
    for (int i = 0; i < 2; ++i) EXPECT_FALSE(sends[i]->test());  // nobody has asked
    world->barrier("the sends to be started");
    for (int i = 0; i < 2; ++i)
      receives[i]->start({Payload::kGradient, false, previous, 0, 0, kBytes, 0, 0}, in[i].data());
    world->barrier("the receives to be started");
    auto done = [&] {
      bool all = true;
      for (const int i : last_first ? std::array{1, 0} : std::array{0, 1})
        all = sends[i]->test() && receives[i]->test() && all;
      return all;
    };
    wait_for(done, "messages", previous, world->limits());
    for (int i = 0; i < 2; ++i)
      EXPECT_EQ(in[i], std::vector<std::byte>(kBytes, static_cast<std::byte>(10 * i + previous))) << i << last_first;
  }
}

}  // namespace
}  // namespace annulus::test
