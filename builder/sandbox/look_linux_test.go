package sandbox

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"pix/internal/testenv"
)

// These are the lines in which a builder sees something else than in Nix's sandbox, by section, and why. Lines with
// "-" are Nix's, lines with "+" are ours.
var always = map[string]string{
	"mountinfo -/ rw,relatime":                                "the root directory is read-only",
	"mountinfo +/ ro,nosuid,nodev,relatime":                   "the root directory is read-only",
	"mountinfo +/tmp rw,relatime":                             "so /tmp is a mount, to be writable",
	"mountinfo -/nix/store/PROBE rw,relatime":                 "inputs are read-only",
	"mountinfo +/nix/store/PROBE ro,nosuid,nodev,relatime":    "inputs are read-only",
	"probes -flistxattr : ok":                                 "listing extended attributes is denied, as in Nix 2.35",
	"probes -listxattr : ok":                                  "listing extended attributes is denied, as in Nix 2.35",
	"probes -llistxattr : ok":                                 "listing extended attributes is denied, as in Nix 2.35",
	"probes +flistxattr : ENOTSUP(95)":                        "listing extended attributes is denied, as in Nix 2.35",
	"probes +listxattr : ENOTSUP(95)":                         "listing extended attributes is denied, as in Nix 2.35",
	"probes +llistxattr : ENOTSUP(95)":                        "listing extended attributes is denied, as in Nix 2.35",
	"probes -setxattrat(463) : ok":                            "new calls for extended attributes are denied",
	"probes -getxattrat(464) : ok":                            "new calls for extended attributes are denied",
	"probes -listxattrat(465) : ok":                           "new calls for extended attributes are denied",
	"probes +setxattrat(463) : ENOTSUP(95)":                   "new calls for extended attributes are denied",
	"probes +getxattrat(464) : ENOTSUP(95)":                   "new calls for extended attributes are denied",
	"probes +listxattrat(465) : ENOTSUP(95)":                  "new calls for extended attributes are denied",
	"probes -io_uring_setup : ok":                             "io_uring can set extended attributes",
	"probes +io_uring_setup : ENOSYS(38)":                     "io_uring can set extended attributes",
	"probes -mkdir /homeless-shelter : permission denied":     "the root directory is read-only",
	"probes +mkdir /homeless-shelter : read-only file system": "the root directory is read-only",
	"probes -write /dev/x : permission denied":                "the root directory is read-only",
	"probes +write /dev/x : read-only file system":            "the root directory is read-only",
	"probes -write /etc/x : permission denied":                "the root directory is read-only",
	"probes +write /etc/x : read-only file system":            "the root directory is read-only",
	"probes -write /x : permission denied":                    "the root directory is read-only",
	"probes +write /x : read-only file system":                "the root directory is read-only",
	"probes -chmod own input : operation not permitted":       "inputs are read-only",
	"probes +chmod own input : read-only file system":         "inputs are read-only",
}

// nixRequest returns the request of the build that Nix ran, with the directories that package builder makes.
func nixRequest(t *testing.T, hostUID, hostGID int) *Request {
	t.Helper()
	testRequest(t) // skips without namespaces
	dir := t.TempDir()
	root, build := filepath.Join(dir, "root"), filepath.Join(dir, "build")
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.MkdirAll(root+"/nix/store", 0o755))
	must(os.Mkdir(root+"/tmp", 0o755))
	must(os.Chmod(root+"/tmp", 0o777|os.ModeSticky))
	must(os.Chmod(root+"/nix/store", 0o775|os.ModeSticky))
	must(os.Chmod(root, 0o750))
	must(os.Mkdir(build, 0o700))
	attr := filepath.Join(build, ".attr-1lak0mvllw8rv9i9ygkglvhqsq19qi9ynl4bi7gbf69ab5nzw89a")
	must(os.WriteFile(attr, []byte("BIG CONTENT\n"), 0o644))
	if os.Geteuid() == 0 {
		if err := os.Lchown(root, 0, hostGID); errors.Is(err, unix.EINVAL) {
			t.Skip("this user namespace has no other users")
		}
		must(os.Lchown(root+"/nix/store", 0, hostGID))
		must(os.Lchown(build, hostUID, hostGID))
		must(os.Lchown(attr, hostUID, hostGID))
	}
	const name = "/nix/store/zkymmd3s1272vy15ba8wd2h0530bfrvi-probe"
	input := filepath.Join(dir, "input")
	b, err := os.ReadFile(probe(t))
	must(err)
	must(os.WriteFile(input, b, 0o555))
	mounts := []Mount{
		{Source: input, Target: name, ReadOnly: true},
		{Source: probe(t), Target: "/bin/sh"},
		{Source: build, Target: "/build"},
	}
	if _, err := os.Stat("/dev/kvm"); err == nil {
		mounts = append(mounts, Mount{Source: "/dev/kvm", Target: "/dev/kvm"})
	}
	return &Request{
		Program: name, Args: []string{"zkymmd3s1272vy15ba8wd2h0530bfrvi-probe", "look"}, Dir: "/build",
		Env:  []string{"NIX_STORE=/st"},
		Root: root, Memory: true, Mounts: mounts, Writable: []string{"/nix/store", "/tmp"},
		Files: []File{
			{"/etc/passwd", "root:x:0:0:Nix build user:/build:/noshell\nnixbld:x:1000:100:Nix build user:/build:/noshell\nnobody:x:65534:65534:Nobody:/:/noshell\n"},
			{"/etc/group", "root:x:0:\nnixbld:!:100:\nnogroup:x:65534:\n"},
			{"/etc/hosts", "127.0.0.1 localhost\n::1 localhost\n"},
		},
		UID: 1000, GID: 100, HostUID: hostUID, HostGID: hostGID,
	}
}

var (
	mountLine = regexp.MustCompile(`^\d+ \d+ \d+:\d+ \S+ (\S+) (\S+) .*- (\S+) \S+ (\S+)$`)
	terminal  = regexp.MustCompile(`^/dev/pts/\d+$`)
	operation = regexp.MustCompile(` : (open|mkdir|chmod) \S+: `)
	sizes     = regexp.MustCompile(` (size|mtime)=\d+`)
)

// notCompared are sections and lines that depend on the machine, on the Go version or on the request.
var notCompared = regexp.MustCompile(`^(argv|env_order|cgroup|file \S+) |^(rlimits (memlock|nproc|note|nofile|stack) )|^status (SigQ|SigCgt|Groups):|^probes (fchmod|fchmodat|fchmodat2|chmod) (4000|20000000755) |^probes (io_uring_(enter|register)|removexattrat)`)

// lookLines returns the lines of the output, each after its section, without what differs between machines.
func lookLines(text string) []string {
	var lines []string
	var section string
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		if name, value, ok := strings.Cut(line, " ="); ok && !strings.HasPrefix(line, " ") {
			section, line = name, value
		}
		line = strings.ReplaceAll(strings.TrimSpace(sizes.ReplaceAllString(line, "")), "zkymmd3s1272vy15ba8wd2h0530bfrvi-probe", "PROBE")
		line = terminal.ReplaceAllString(line, "/dev/pts/0")
		line = operation.ReplaceAllString(line, " : ")
		if m := mountLine.FindStringSubmatch(line); m != nil {
			line = m[1] + " " + m[2]
		}
		if line != "" && line != "None" && line != "[]" && !notCompared.MatchString(section+" "+line) {
			lines = append(lines, section+" "+line)
		}
	}
	return lines
}

// owner is one of the users that files in a sandbox have. Without a build user, its files belong to the builder, in
// Nix too.
var owner = regexp.MustCompile(`\b(65534:65534|65534:100|1000:100)\b`)

// compareLook compares what a builder saw with what one saw in Nix's sandbox, except known differences.
func compareLook(t *testing.T, got string, ownUser bool, known ...map[string]string) {
	t.Helper()
	b, err := os.ReadFile(testenv.BuilderData(t, "nix-2.34.8-sandbox.txt"))
	if err != nil {
		t.Fatal(err)
	}
	differences := map[string]bool{}
	want, have := lookLines(string(b)), lookLines(got)
	if ownUser {
		for _, lines := range [][]string{want, have} {
			for i := range lines {
				lines[i] = owner.ReplaceAllString(lines[i], "OWNER")
			}
		}
	}
	note := func(sign string, lines, others []string) {
		for _, line := range lines {
			if !slices.Contains(others, line) {
				section, rest, _ := strings.Cut(line, " ")
				differences[section+" "+sign+rest] = true
			}
		}
	}
	note("-", want, have)
	note("+", have, want)
	expected := map[string]string{}
	for _, k := range known {
		maps.Copy(expected, k)
	}
	for _, d := range slices.Sorted(maps.Keys(differences)) {
		if expected[d] == "" {
			t.Errorf("unknown difference: %q", d)
		}
	}
	for d := range expected {
		if !differences[d] {
			t.Errorf("not found: %q", d)
		}
	}
}

// look returns what the process of a request sees, and what the filter denies it.
func look(t *testing.T, req *Request) string {
	t.Helper()
	result, log := run(t, req)
	if result.ExitCode != 0 {
		t.Fatal(result, log)
	}
	calls := testRequest(t)
	calls.Mounts[0].Source = testProgram(t, "calls", "")
	if req.HostUID != os.Geteuid() {
		setUser(t, calls, req.HostUID)
	}
	_, outcomes := run(t, calls)
	return log + "probes =\n" + outcomes
}

func TestLookBuildUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root has build users")
	}
	compareLook(t, look(t, nixRequest(t, 30001, 30000)), false, always)
}

func TestLookOwnUser(t *testing.T) {
	differences := map[string]string{
		"cat -/proc/self/gid_map 100      30000          1":                       "another user",
		"cat -/proc/self/uid_map 1000      30001          1":                      "another user",
		fmt.Sprintf("cat +/proc/self/gid_map 100 %10d          1", os.Getegid()):  "another user",
		fmt.Sprintf("cat +/proc/self/uid_map 1000 %10d          1", os.Geteuid()): "another user",
	}
	for _, name := range rootOnly {
		if _, err := os.Stat("/proc/" + name); os.Geteuid() == 0 && err == nil {
			differences["mountinfo +/proc/"+name+" ro,nosuid,nodev,relatime"] = "root without a build user could configure the kernel"
		}
	}
	if os.Geteuid() == 0 {
		for _, name := range []string{"full", "kvm", "null", "random", "tty", "urandom", "zero"} {
			differences["mountinfo -/dev/"+name+" rw,relatime"] = "root without a build user could change the modes of devices"
			differences["mountinfo +/dev/"+name+" ro,relatime"] = "root without a build user could change the modes of devices"
		}
	}
	compareLook(t, look(t, nixRequest(t, os.Geteuid(), os.Getegid())), true, always, differences)
}
