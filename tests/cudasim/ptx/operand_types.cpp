#include "tests/cudasim/ptx/operand_types.h"

namespace annulus::cudasim {
namespace {

constexpr int kPredicate = 0, kAny = -1;

int words_of(Type type) { return type == Type::kPred ? kPredicate : size_of(type) == 8 ? 2 : 1; }

int of_barrier(const Instruction& in, size_t index) {
  if (!in.has("red")) return 1;
  if (index == 0) return in.has("popc") ? 1 : kPredicate;
  return index + 1 == in.operands.size() ? kPredicate : 1;
}

}  // namespace

bool has_second_result(const Instruction& in) {
  return in.opcode == "setp" || in.opcode == "shfl" || in.opcode == "match";
}

int words_per_lane(const Instruction& in, size_t index) {
  const std::string& name = in.opcode;
  const int usual = words_of(in.type());
  if (in.operands[index].address) return kAny;
  if (name == "ld" || name == "ldu" || name == "st" || name == "cvta" || name == "isspacep")
    return index == 0 && name == "isspacep" ? kPredicate : kAny;
  if (name == "cvt")
    return in.operands[index].kind == Operand::Kind::kRegister ? kAny : words_of(in.type(in.types.size() - 1));
  if (name == "setp") return index == 0 || index == 3 ? kPredicate : usual;
  if (name == "set") return index == 0 ? 1 : index == 3 ? kPredicate : words_of(in.type(1));
  if (name == "selp") return index == 3 ? kPredicate : usual;
  if (name == "slct") return index == 3 ? 1 : usual;
  if (name == "testp") return index == 0 ? kPredicate : usual;
  if (name == "shl" || name == "shr") return index == 2 ? 1 : usual;
  if (name == "bfe") return index >= 2 ? 1 : usual;
  if (name == "bfi") return index >= 3 ? 1 : usual;
  if (name == "popc" || name == "clz" || name == "bfind") return index == 0 ? 1 : usual;
  if (in.has("wide") && (name == "mul" || name == "mad"))
    return index == 0 || index == 3 ? (usual == 2 || size_of(in.type()) == 4 ? 2 : 1) : usual;
  if (name == "vote") return (index == 0 && !in.has("ballot")) || index == 1 ? kPredicate : 1;
  if (name == "match") return index == 1 ? usual : 1;
  if (name == "bar" || name == "barrier") return of_barrier(in, index);
  if (name == "shfl" || name == "redux" || name == "activemask" || name == "mma" || name == "ldmatrix" ||
      name == "cp" || name == "nanosleep" || name == "lop3" || name == "prmt" || name == "shf" || name == "brx")
    return 1;
  return usual;
}

}  // namespace annulus::cudasim
