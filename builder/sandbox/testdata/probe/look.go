package main

import (
	"bytes"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// look prints everything that a process sees, as lines "name = value", sorted by name; lines of lists are indented.
func look([]string) {
	out := map[string][]string{}
	one := func(name, value string) { out[name] = []string{value} }
	list := func(name string, values []string) { out[name] = append([]string{""}, values...) }

	list("argv", os.Args)
	list("env_order", os.Environ())
	wd, _ := os.Getwd()
	one("cwd", wd)
	list("ids", strings.Fields(fmt.Sprint(os.Getuid(), os.Geteuid(), os.Getgid(), os.Getegid())))
	groups, _ := os.Getgroups()
	one("groups", fmt.Sprint(groups))
	mask := unix.Umask(0)
	unix.Umask(mask)
	one("umask", fmt.Sprintf("%04o", mask))
	list("rlimits", limits())
	persona, _, _ := unix.Syscall(unix.SYS_PERSONALITY, 0xffffffff, 0, 0)
	one("personality", fmt.Sprintf("%#x", persona))
	var uts unix.Utsname
	unix.Uname(&uts)
	text := func(b []byte) string { return string(b[:bytes.IndexByte(b, 0)]) }
	list("uname", []string{text(uts.Sysname[:]), text(uts.Nodename[:]), "release", text(uts.Machine[:]), "domain=" + text(uts.Domainname[:])})
	list("status", status("Uid", "Gid", "Groups", "NSpid", "NSpgid", "SigPnd", "SigBlk", "SigIgn", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp", "Seccomp_filters"))
	list("mountinfo", strings.Split(strings.TrimSpace(content("/proc/self/mountinfo")), "\n"))
	one("cgroup", content("/proc/self/cgroup"))
	list("pid", strings.Fields(fmt.Sprint(os.Getpid(), os.Getppid())))
	sid, _ := unix.Getsid(0)
	list("sid_pgid", strings.Fields(fmt.Sprint(sid, unix.Getpgrp())))
	interfaces, _ := net.Interfaces()
	for _, i := range interfaces {
		addresses, _ := i.Addrs()
		one("if_"+i.Name, fmt.Sprint(i.Flags, addresses))
	}
	for _, dir := range []string{"/", "/etc", "/dev", "/dev/pts", "/dev/shm", "/nix", "/nix/store", "/tmp", "/build"} {
		list("ls "+dir, listing(dir))
	}
	for _, dir := range []string{"/", "/tmp", "/build", "/nix", "/nix/store", "/etc", "/proc", "/dev"} {
		var st unix.Stat_t
		unix.Stat(dir, &st)
		one("stat "+dir, fmt.Sprintf("%06o %d:%d", st.Mode, st.Uid, st.Gid))
	}
	for _, file := range []string{"/etc/passwd", "/etc/group", "/etc/hosts", "/etc/nsswitch.conf", "/etc/resolv.conf", "/proc/self/uid_map", "/proc/self/gid_map", "/proc/self/setgroups", "/proc/sys/kernel/hostname"} {
		one("cat "+file, content(file))
	}
	for fd := range 3 {
		target, _ := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd))
		one(fmt.Sprintf("fd%d", fd), target)
		if t, err := unix.IoctlGetTermios(fd, unix.TCGETS); err == nil {
			one(fmt.Sprintf("fd%d_termios", fd), fmt.Sprintf("iflag=%x oflag=%x cflag=%x lflag=%x", t.Iflag, t.Oflag, t.Cflag, t.Lflag))
			size, err := unix.IoctlGetWinsize(fd, unix.TIOCGWINSZ)
			one(fmt.Sprintf("fd%d_winsize", fd), fmt.Sprint(size, err))
		}
	}
	_, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	one("open /dev/tty", fmt.Sprint(err))
	list("probes", probes())

	for _, name := range slices.Sorted(maps.Keys(out)) {
		fmt.Printf("%s = %s\n", name, strings.TrimSpace(out[name][0]))
		for _, line := range out[name][1:] {
			fmt.Printf("    %s\n", line)
		}
	}
}

func limits() (lines []string) {
	for _, l := range []struct {
		name     string
		resource int
	}{{"as", unix.RLIMIT_AS}, {"core", unix.RLIMIT_CORE}, {"cpu", unix.RLIMIT_CPU}, {"data", unix.RLIMIT_DATA}, {"fsize", unix.RLIMIT_FSIZE}, {"nofile", unix.RLIMIT_NOFILE}, {"stack", unix.RLIMIT_STACK}} {
		var limit unix.Rlimit
		unix.Getrlimit(l.resource, &limit)
		lines = append(lines, fmt.Sprintf("%s : ['%d', '%d']", l.name, int64(limit.Cur), int64(limit.Max)))
	}
	return lines
}

// status returns lines of /proc/self/status.
func status(names ...string) (lines []string) {
	for line := range strings.Lines(content("/proc/self/status")) {
		if name, _, _ := strings.Cut(line, ":"); slices.Contains(names, name) {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	return lines
}

func printStatus(names ...string) {
	for _, line := range status(names...) {
		fmt.Println(line)
	}
}

func content(file string) string {
	b, err := os.ReadFile(file)
	if err != nil {
		return "ERR " + err.Error()
	}
	return string(b)
}

func listing(dir string) (lines []string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return []string{"ERR " + err.Error()}
	}
	for _, e := range entries {
		file := filepath.Join(dir, e.Name())
		var st unix.Stat_t
		unix.Lstat(file, &st)
		line := fmt.Sprintf("%06o %d:%d %s", st.Mode, st.Uid, st.Gid, e.Name())
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFLNK:
			target, _ := os.Readlink(file)
			line += " -> " + target
		case unix.S_IFREG:
			line += fmt.Sprintf(" size=%d", st.Size)
		case unix.S_IFCHR:
			line += fmt.Sprintf(" dev=%d,%d", unix.Major(uint64(st.Rdev)), unix.Minor(uint64(st.Rdev)))
		}
		lines = append(lines, line)
	}
	return lines
}

// probes returns the outcomes of operations that the command calls does not try.
func probes() (lines []string) {
	add := func(what, result string) { lines = append(lines, what+" : "+result) }
	errno := func(what string, number uintptr, args ...uintptr) {
		var a [6]uintptr
		copy(a[:], args)
		_, _, e := unix.Syscall6(number, a[0], a[1], a[2], a[3], a[4], a[5])
		if e == 0 {
			add(what, "ok")
		} else {
			add(what, fmt.Sprintf("%s(%d)", unix.ErrnoName(e), int(e)))
		}
	}
	mode := func(what, file string) {
		var st unix.Stat_t
		unix.Lstat(file, &st)
		add(what, fmt.Sprintf("%o", st.Mode))
	}
	os.WriteFile("probe.f", nil, 0o644)
	_, err := unix.Open("probe.suid", unix.O_CREAT|unix.O_RDWR, 0o4755)
	add("open O_CREAT 4755", strings.Replace(fmt.Sprint(err), "<nil>", "ok", 1))
	mode("open O_CREAT 4755 mode", "probe.suid")
	unix.Mknod("probe.suid2", unix.S_IFREG|0o4755, 0)
	mode("mknod reg 4755 mode", "probe.suid2")
	add("mkdir 2755", fmt.Sprint(unix.Mkdir("probe.d", 0o2755)))
	mode("mkdir 2755 mode", "probe.d")
	path, name := pointer("probe.f"), pointer("user.x")
	errno("removexattr", unix.SYS_REMOVEXATTR, path, name)
	errno("unshare NEWUSER", unix.SYS_UNSHARE, 0) // no flags: harmless
	errno("bpf", unix.SYS_BPF)
	errno("keyctl", unix.SYS_KEYCTL, 0)
	errno("mount", unix.SYS_MOUNT, 0, path, 0, unix.MS_BIND)
	for what, m := range map[string]uint32{"mknod chr": unix.S_IFCHR | 0o666, "mkfifo": unix.S_IFIFO | 0o666} {
		errno(what, unix.SYS_MKNODAT, ^uintptr(99), pointer("probe."+what), uintptr(m), uintptr(unix.Mkdev(1, 3)))
	}
	errno("sethostname", unix.SYS_SETHOSTNAME, path, 3)
	action := uint32(0x7fff0000)
	errno("seccomp get_action_avail", unix.SYS_SECCOMP, 2, 0, uintptr(unsafe.Pointer(&action)))
	for what, do := range map[string]func(int) error{
		"abstract connect": func(s int) error { return unix.Connect(s, &unix.SockaddrUnix{Name: "@rb-abstract"}) },
		"abstract bind":    func(s int) error { return unix.Bind(s, &unix.SockaddrUnix{Name: "@rb-inside"}) },
	} {
		s, _ := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
		add(what, fmt.Sprint(do(s)))
		unix.Close(s)
	}
	for _, file := range []string{"/etc/x", "/x", "/tmp/x", "/nix/store/x", "/dev/x"} {
		add("write "+file, fmt.Sprint(os.WriteFile(file, nil, 0o644)))
	}
	add("mkdir /homeless-shelter", fmt.Sprint(os.Mkdir("/homeless-shelter", 0o755)))
	self, _ := os.Executable()
	_, err = os.OpenFile(self, os.O_WRONLY, 0)
	add("open own input for write", fmt.Sprint(err))
	add("chmod own input", fmt.Sprint(os.Chmod(self, 0o755)))
	add("self", self)
	slices.Sort(lines)
	return lines
}

// kept keeps what a uintptr points to.
var kept []*byte

func pointer(s string) uintptr {
	p, err := unix.BytePtrFromString(s)
	if err != nil {
		panic(err)
	}
	kept = append(kept, p)
	return uintptr(unsafe.Pointer(p))
}
