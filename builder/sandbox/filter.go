package sandbox

// Words of the kernel's packet filter language, and of seccomp's return values.
const (
	bpfLoad  = 0x20 // BPF_LD|BPF_W|BPF_ABS
	bpfEqual = 0x15 // BPF_JMP|BPF_JEQ|BPF_K
	bpfSet   = 0x45 // BPF_JMP|BPF_JSET|BPF_K
	bpfAnd   = 0x54 // BPF_ALU|BPF_AND|BPF_K
	bpfRet   = 0x06 // BPF_RET|BPF_K

	filterAllow = 0x7fff0000 // SECCOMP_RET_ALLOW
	filterErrno = 0x00050000 // SECCOMP_RET_ERRNO

	filterEPERM   = filterErrno | 1
	filterENOSYS  = filterErrno | 38
	filterENOTSUP = filterErrno | 95
)

// Offsets in the kernel's struct seccomp_data.
const (
	offsetNumber = 0
	offsetArch   = 4
	offsetArgs   = 16
)

// x32Bit marks the system calls of the x32 interface, which shares the numbers of x86_64.
const x32Bit = 0x40000000

// An instruction is one instruction of a filter program.
type instruction struct {
	code   uint16
	jt, jf uint8
	k      uint32
}

// An abi is one system call interface of a machine: its AUDIT_ARCH constant and its numbers.
type abi struct {
	arch uint32
	// chmod and chmodat are system calls with the file mode as their second and third argument. A set-user-ID or
	// set-group-ID mode is denied with EPERM: otherwise a builder could leave a program that gives other users the
	// rights of the build user.
	chmod, chmodat []uint32
	// xattr read, list or set extended attributes; they are denied with ENOTSUP, as if the file system had none.
	xattr []uint32
	// masked are the bits of a number that are ignored, because they only distinguish two interfaces with the same
	// table.
	masked uint32
}

// commonXattr are setxattrat, getxattrat, listxattrat and removexattrat, and commonRing the calls of io_uring, whose
// operations include FSETXATTR. New system calls have one number on all machines.
var (
	commonXattr = []uint32{463, 464, 465, 466}
	commonRing  = []uint32{425, 426, 427}
)

const fchmodat2 = 452

var (
	abiX86_64 = abi{
		arch: 0xc000003e, masked: x32Bit,
		chmod: []uint32{90, 91}, chmodat: []uint32{268, fchmodat2},
		xattr: []uint32{188, 189, 190, 191, 192, 193, 194, 195, 196},
	}
	abiI386 = abi{
		arch:  0x40000003,
		chmod: []uint32{15, 94}, chmodat: []uint32{306, fchmodat2},
		xattr: []uint32{226, 227, 228, 229, 230, 231, 232, 233, 234},
	}
	abiARM64 = abi{
		arch:  0xc00000b7,
		chmod: []uint32{52}, chmodat: []uint32{53, fchmodat2},
		xattr: []uint32{5, 6, 7, 8, 9, 10, 11, 12, 13},
	}
	abiARM = abi{
		arch:  0x40000028,
		chmod: []uint32{15, 94}, chmodat: []uint32{333, fchmodat2},
		xattr: []uint32{226, 227, 228, 229, 230, 231, 232, 233, 234},
	}
	abiRISCV64 = abi{
		arch:  0xc00000f3,
		chmod: []uint32{52}, chmodat: []uint32{53, fchmodat2},
		xattr: []uint32{5, 6, 7, 8, 9, 10, 11, 12, 13},
	}
)

// abis are the interfaces of a machine by its GOARCH. A machine that is not listed cannot run processes: a
// filter that ignores one of its interfaces would be none.
var abis = map[string][]abi{
	"amd64":   {abiX86_64, abiI386},
	"arm64":   {abiARM64, abiARM},
	"riscv64": {abiRISCV64},
}

// filter returns the program that allows all system calls except the listed ones. A call through an interface that is
// not listed fails with ENOSYS.
func filter(interfaces []abi) []instruction {
	program := []instruction{{code: bpfLoad, k: offsetArch}}
	for _, a := range interfaces {
		table := a.table()
		program = append(program, instruction{code: bpfEqual, jf: uint8(len(table)), k: a.arch})
		program = append(program, table...)
	}
	return append(program, instruction{code: bpfRet, k: filterENOSYS})
}

// table returns the part of a filter for one interface. It always ends in a return. It is shorter than 256
// instructions, the reach of a conditional jump.
func (a *abi) table() []instruction {
	table := []instruction{{code: bpfLoad, k: offsetNumber}}
	if a.masked != 0 {
		table = append(table, instruction{code: bpfAnd, k: ^a.masked})
	}
	deny := func(numbers []uint32, result uint32) {
		for _, n := range numbers {
			table = append(table,
				instruction{code: bpfEqual, jf: 1, k: n},
				instruction{code: bpfRet, k: result})
		}
	}
	denyMode := func(numbers []uint32, arg uint32) {
		for _, n := range numbers {
			table = append(table,
				instruction{code: bpfEqual, jf: 4, k: n},
				instruction{code: bpfLoad, k: offsetArgs + 8*arg}, // the low word: all these machines are little-endian
				instruction{code: bpfSet, jf: 1, k: 0o6000},
				instruction{code: bpfRet, k: filterEPERM},
				instruction{code: bpfRet, k: filterAllow})
		}
	}
	denyMode(a.chmod, 1)
	denyMode(a.chmodat, 2)
	deny(a.xattr, filterENOTSUP)
	deny(commonXattr, filterENOTSUP)
	deny(commonRing, filterENOSYS)
	return append(table, instruction{code: bpfRet, k: filterAllow})
}
