// main() of GoogleTest programs that run under mpirun: all ranks make the same tests in step. Rank 0 prints progress,
// every rank its failures, and the exit code is that of the job. A job whose ranks have lost each other is ended.
#include <gtest/gtest.h>
#include <mpi.h>
#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>

#include "comm/mpi_wire.h"

namespace {

constexpr unsigned kTestSeconds = 100;  // far above any test: only a hang reaches it
constexpr double kGraceSeconds = 10.0;  // for the other ranks, once this one has left a test by an exception

char who[64];  // "rank 2/4: "

// Ends a rank that hangs where no deadline of ours can be, such as inside MPI; mpirun then ends the others.
void end_hanging_rank(int) {
  const char text[] = "this test hangs; ending the job\n";
  (void)!write(STDERR_FILENO, who, strlen(who));
  (void)!write(STDERR_FILENO, text, sizeof text - 1);
  _exit(1);
}

// The largest value that any rank gives. Aborts the job if the others do not come in time.
int largest_of_all(int mine, double timeout_seconds, MPI_Comm communicator) {
  using Clock = std::chrono::steady_clock;
  int largest = mine, done = 0;
  MPI_Request request;
  MPI_Iallreduce(&mine, &largest, 1, MPI_INT, MPI_MAX, communicator, &request);
  const auto begin = Clock::now();
  while (MPI_Test(&request, &done, MPI_STATUS_IGNORE) == MPI_SUCCESS && !done) {
    if (std::chrono::duration<double>(Clock::now() - begin).count() > timeout_seconds) {
      fprintf(stderr, "%sthe other ranks have not ended this test; ending the job\n", who);
      fflush(stderr);
      MPI_Abort(MPI_COMM_WORLD, 1);
    }
    std::this_thread::sleep_for(std::chrono::microseconds(100));
  }
  return largest;
}

class RankPrinter : public testing::EmptyTestEventListener {
 public:
  RankPrinter(int rank, int size, MPI_Comm communicator) : rank_(rank), size_(size), communicator_(communicator) {}

  void OnTestStart(const testing::TestInfo& test) override {
    alarm(kTestSeconds);
    left_early_ = false;
    test_name_ = std::string(test.test_suite_name()) + "." + test.name();
    if (rank_ != 0) return;
    printf("[ RUN      ] %s\n", test_name_.c_str());
    fflush(stdout);
  }

  void OnTestPartResult(const testing::TestPartResult& result) override {
    left_early_ |= result.fatally_failed();  // an exception, too
    if (result.passed() || (result.skipped() && rank_ != 0)) return;
    const char* file = result.file_name() ? result.file_name() : "unknown file";
    const char* kind = result.skipped() ? "Skipped" : "Failure";
    // In one piece, so that the lines of several ranks do not mix.
    const std::string text = who + test_name_ + ": " + file + ":" + std::to_string(result.line_number()) + ": " + kind +
                             "\n" + result.message() + "\n";
    fputs(text.c_str(), stdout);
    fflush(stdout);
  }

  void OnTestEnd(const testing::TestInfo& test) override {
    const bool failed = test.result()->Failed();
    const bool any_failed = largest_of_all(failed, left_early_ ? kGraceSeconds : kTestSeconds, communicator_) != 0;
    num_failed_ += any_failed;
    if (rank_ != 0) return;
    printf("%s %s (%lld ms)\n", any_failed ? "[  FAILED  ]" : "[       OK ]", test_name_.c_str(),
           static_cast<long long>(test.result()->elapsed_time()));
    fflush(stdout);
  }

  void OnTestProgramEnd(const testing::UnitTest& program) override {
    if (rank_ == 0)
      printf("%d tests on %d ranks, %d failed (%lld ms)\n", program.test_to_run_count(), size_, num_failed_,
             static_cast<long long>(program.elapsed_time()));
  }

 private:
  int rank_, size_;
  MPI_Comm communicator_;
  std::string test_name_ = "outside any test";
  int num_failed_ = 0;
  bool left_early_ = false;
};

}  // namespace

int main(int argc, char** argv) {
  int thread_level = MPI_THREAD_SINGLE, rank = 0, size = 1;
  annulus::send_over_tcp_without_asking();
  MPI_Init_thread(&argc, &argv, MPI_THREAD_FUNNELED, &thread_level);
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  snprintf(who, sizeof who, "rank %d/%d: ", rank, size);
  if (thread_level < MPI_THREAD_FUNNELED) {
    fprintf(stderr, "%sthis MPI has no MPI_THREAD_FUNNELED\n", who);
    MPI_Abort(MPI_COMM_WORLD, 1);
  }
  signal(SIGALRM, end_hanging_rank);
  alarm(kTestSeconds);                    // each test begins to count anew
  MPI_Comm communicator = MPI_COMM_NULL;  // the tests' own messages cannot be taken for ours
  MPI_Comm_dup(MPI_COMM_WORLD, &communicator);

  testing::InitGoogleTest(&argc, argv);
  testing::TestEventListeners& listeners = testing::UnitTest::GetInstance()->listeners();
  delete listeners.Release(listeners.default_result_printer());
  if (rank != 0) delete listeners.Release(listeners.default_xml_generator());  // one file, written by rank 0
  listeners.Append(new RankPrinter(rank, size, communicator));

  const int failed = largest_of_all(RUN_ALL_TESTS() != 0, kTestSeconds, communicator);
  MPI_Comm_free(&communicator);
  MPI_Finalize();
  return failed;
}
