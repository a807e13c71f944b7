package sandbox

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// evaluate runs a filter on a system call.
func evaluate(t *testing.T, program []instruction, arch, number uint32, args ...uint64) uint32 {
	t.Helper()
	data := map[uint32]uint32{offsetNumber: number, offsetArch: arch}
	for i, a := range args {
		data[uint32(offsetArgs+8*i)] = uint32(a)
	}
	var acc uint32
	for pc := 0; pc < len(program); pc++ {
		in := program[pc]
		jump := func(condition bool) {
			if condition {
				pc += int(in.jt)
			} else {
				pc += int(in.jf)
			}
		}
		switch in.code {
		case bpfLoad:
			acc = data[in.k]
		case bpfEqual:
			jump(acc == in.k)
		case bpfSet:
			jump(acc&in.k != 0)
		case bpfAnd:
			acc &= in.k
		case bpfRet:
			return in.k
		default:
			t.Fatalf("unknown instruction %+v", in)
		}
	}
	t.Fatal("the program does not return")
	return 0
}

// interfaces are the system call interfaces, by the GOARCH that has its numbers.
var interfaces = map[string]struct {
	machine string
	abi     abi
	x32     bool
}{
	"amd64":   {"amd64", abiX86_64, false},
	"x32":     {"amd64", abiX86_64, true},
	"386":     {"amd64", abiI386, false},
	"arm64":   {"arm64", abiARM64, false},
	"arm":     {"arm64", abiARM, false},
	"riscv64": {"riscv64", abiRISCV64, false},
}

// numbers returns the system calls of a machine, as golang.org/x/sys has them.
func numbers(t *testing.T, goarch string) map[string]uint32 {
	t.Helper()
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "golang.org/x/sys").Output()
	if err != nil {
		t.Skip("the Go toolchain does not say where golang.org/x/sys is: ", err)
	}
	b, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(out)), "unix", "zsysnum_linux_"+goarch+".go"))
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]uint32{}
	for _, m := range regexp.MustCompile(`SYS_(\w+)\s+= (\d+)`).FindAllStringSubmatch(string(b), -1) {
		n, err := strconv.ParseUint(m[2], 10, 32)
		if err != nil {
			t.Fatal(err)
		}
		all[strings.ToLower(m[1])] = uint32(n)
	}
	return all
}

// Each system call that the filter concerns has the number of the machine, and all others are allowed.
func TestFilter(t *testing.T) {
	modeArg := map[string]int{"chmod": 1, "fchmod": 1, "fchmodat": 2, "fchmodat2": 2}
	xattr := regexp.MustCompile(`^([lf]?(get|set|list)xattr|(get|set|list|remove)xattrat)$`)
	for _, name := range slices.Sorted(maps.Keys(interfaces)) {
		t.Run(name, func(t *testing.T) {
			i := interfaces[name]
			goarch, bit := name, uint32(0)
			if i.x32 {
				goarch, bit = "amd64", x32Bit
			}
			program := filter(abis[i.machine])
			calls := numbers(t, goarch)
			if len(calls) < 250 {
				t.Fatalf("only %d system calls", len(calls))
			}
			concerned := 0
			for call, number := range calls {
				check := func(want uint32, args ...uint64) {
					t.Helper()
					if got := evaluate(t, program, i.abi.arch, number|bit, args...); got != want {
						t.Errorf("%s(%o) = %#x, want %#x", call, args, got, want)
					}
				}
				arg, isMode := modeArg[call]
				switch {
				case isMode:
					for mode := range uint64(0o10000) {
						args := []uint64{0, 0, 0, 0}
						args[arg] = mode | 1<<40
						want := uint32(filterAllow)
						if mode&0o6000 != 0 {
							want = filterEPERM
						}
						check(want, args...)
					}
				case xattr.MatchString(call):
					check(filterENOTSUP)
				case strings.HasPrefix(call, "io_uring_"):
					check(filterENOSYS)
				default:
					check(filterAllow, 0o7777, 0o7777, 0o7777)
					continue
				}
				concerned++
			}
			// Nine calls for attributes, four new ones, three of io_uring, and three or four that change modes.
			if want := 19 + len(i.abi.chmod) - 1; concerned != want {
				t.Errorf("the filter concerns %d calls, want %d", concerned, want)
			}
		})
	}
	for machine, all := range abis {
		for _, unknown := range []uint32{0, 0xc000003d, 0x4000001e} {
			if got := evaluate(t, filter(all), unknown, 1); got != filterENOSYS {
				t.Errorf("%s: an unknown interface gets %#x", machine, got)
			}
		}
	}
}

func ExampleSetupError() {
	err := &SetupError{Step: "mounting /proc", Err: fmt.Errorf("operation not permitted"), Advice: "Mount /proc without other mounts on it."}
	fmt.Println(err)
	// Output:
	// setting up the sandbox: mounting /proc: operation not permitted
	// Mount /proc without other mounts on it.
}
