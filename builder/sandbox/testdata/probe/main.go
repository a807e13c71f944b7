// The probe is the program that tests run in a sandbox. Its first argument says what it does.
package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

var commands = map[string]func(args []string){
	"echo":       func(args []string) { fmt.Println(args[0]) },
	"exit":       func(args []string) { os.Exit(number(args[0])) },
	"kill":       killSelf,
	"look":       look,
	"inputs":     inputs,
	"nested":     nested,
	"dial":       dial,
	"background": background,
	"daemon":     daemon,
	"forks":      forks,
	"close":      closeOutput,
	"sleep":      func([]string) { fmt.Println("asleep"); time.Sleep(time.Hour) },
	"files":      files,
	"signals":    signals,
	"ids":        ids,
	"execfd":     execfd,
	"keyring":    keyring,
	"procsys":    procsys,
	"write":      func(args []string) { report(args[0], os.WriteFile(args[0], nil, 0o644)) },
	"read":       func(args []string) { text, err := os.ReadFile(args[0]); report(string(text), err) },
	"flood":      flood,
	"await":      await,
	"drain":      func([]string) { io.Copy(io.Discard, os.Stdin) },
}

func main() {
	if len(os.Args) < 2 || commands[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "no such command")
		os.Exit(2)
	}
	runtime.LockOSThread()
	commands[os.Args[1]](os.Args[2:])
}

func number(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		panic(err)
	}
	return n
}

// report prints the outcome of an operation.
func report(what string, err error) {
	text := "ok"
	if err != nil {
		text = err.Error()
		for e := err; e != nil; {
			if errno, ok := e.(syscall.Errno); ok {
				text = unix.ErrnoName(errno)
			}
			u, ok := e.(interface{ Unwrap() error })
			if !ok {
				break
			}
			e = u.Unwrap()
		}
	}
	fmt.Printf("%s: %s\n", what, text)
}

func killSelf(args []string) {
	unix.Kill(unix.Getpid(), unix.Signal(number(args[0])))
	time.Sleep(50 * time.Millisecond)
	os.Exit(99)
}

// inputs tries to change an input, whose directory is args[0] and which has a file "file".
func inputs(args []string) {
	dir := args[0]
	file := dir + "/file"
	report("chmod file", os.Chmod(file, 0o777))
	report("chmod dir", os.Chmod(dir, 0o777))
	_, err := os.OpenFile(file, os.O_RDWR, 0)
	report("open", err)
	report("create", os.WriteFile(dir+"/new", nil, 0o644))
	report("rename", os.Rename(file, dir+"/other"))
	report("rename dir", os.Rename(dir, dir+"-other"))
	report("unlink", os.Remove(file))
	report("chtimes", os.Chtimes(file, time.Now(), time.Now()))
	report("link", os.Link(file, dir+"/linked"))
	report("remount", unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_BIND, ""))
	report("umount", unix.Unmount(dir, unix.MNT_DETACH))
	c := exec.Command("/proc/self/exe", "nested", dir)
	c.Stdout, c.Stderr = os.Stdout, os.Stderr
	c.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	if err := c.Run(); err != nil {
		report("nested", err)
	}
}

// await waits until args[0] and args[1] appear. It prints the second one and the processes, and then tries to change the first.
func await(args []string) {
	fmt.Println("ready")
	for range 1000 {
		_, err := os.Lstat(args[1])
		if _, dir := os.Lstat(args[0] + "/file"); dir == nil && err == nil {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	text, err := os.ReadFile(args[1])
	report("read "+string(text), err)
	processes, _ := os.ReadDir("/proc")
	n := 0
	for _, p := range processes {
		if _, err := strconv.Atoi(p.Name()); err == nil {
			n++
		}
	}
	fmt.Printf("processes: %d\n", n)
	inputs(args)
}

// nested does the same in a user namespace, as its root.
func nested(args []string) {
	dir := args[0]
	report("nested remount", unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_BIND, ""))
	report("nested umount", unix.Unmount(dir, unix.MNT_DETACH))
	report("nested mkdir", os.Mkdir("/build/copy", 0o755))
	report("nested rbind", unix.Mount(dir, "/build/copy", "", unix.MS_BIND|unix.MS_REC, ""))
	report("nested rbind remount", unix.Mount("", "/build/copy", "", unix.MS_REMOUNT|unix.MS_BIND, ""))
	report("nested setattr", unix.MountSetattr(unix.AT_FDCWD, "/build/copy", unix.AT_RECURSIVE, &unix.MountAttr{Attr_clr: unix.MOUNT_ATTR_RDONLY}))
	report("nested chmod", os.Chmod("/build/copy/file", 0o777))
	report("nested root remount", unix.Mount("", "/", "", unix.MS_REMOUNT|unix.MS_BIND, ""))
}

// dial connects to an abstract socket.
func dial(args []string) {
	s, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err == nil {
		err = unix.Connect(s, &unix.SockaddrUnix{Name: "@" + args[0]})
	}
	report("dial", err)
}

// background leaves a process in the background that holds the output, and ends.
func background(args []string) {
	start("sleep")
	fmt.Println("started")
	time.Sleep(20 * time.Millisecond)
}

// daemon leaves a process that belongs to no ancestor and no session of this one.
func daemon(args []string) {
	if len(args) > 0 {
		start("sleep")
		return
	}
	c := exec.Command("/proc/self/exe", "daemon", "again")
	c.Stdout, c.Stderr = os.Stdout, os.Stderr
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	report("daemon", c.Run())
	time.Sleep(20 * time.Millisecond)
}

func start(args ...string) {
	c := exec.Command("/proc/self/exe", args...)
	c.Stdout, c.Stderr = os.Stdout, os.Stderr
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	report("start", c.Start())
}

// forks makes processes that make processes, for as long as they live.
func forks(args []string) {
	for range 3 {
		c := exec.Command("/proc/self/exe", "forks", strconv.Itoa(number(args[0])-1))
		c.Stdout, c.Stderr = os.Stdout, os.Stderr
		c.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		if number(args[0]) > 0 {
			c.Start()
		}
	}
	if number(args[0]) < 4 {
		time.Sleep(time.Hour)
	}
}

// closeOutput closes all outputs and goes on.
func closeOutput([]string) {
	fmt.Println("closing")
	for fd := range 3 {
		unix.Close(fd)
	}
	time.Sleep(time.Hour)
}

// files prints the open descriptors, except descriptors of Go's runtime and of the listing itself.
func files([]string) {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		report("files", err)
	}
	for _, e := range entries {
		target, err := os.Readlink("/proc/self/fd/" + e.Name())
		if err == nil && !strings.HasPrefix(target, "anon_inode:[event") && !strings.HasPrefix(target, "/sys/fs/cgroup/") {
			fmt.Println(e.Name(), target)
		}
	}
}

// signals prints the signals that are ignored or blocked. Go's runtime keeps what it does not use.
func signals([]string) {
	printStatus("SigBlk", "SigIgn")
}

func ids([]string) {
	groups, err := os.Getgroups()
	fmt.Println(os.Getuid(), os.Geteuid(), os.Getgid(), os.Getegid(), groups, err)
}

// keyring prints the session keyring.
func keyring([]string) {
	fmt.Println(unix.KeyctlGetKeyringID(unix.KEY_SPEC_SESSION_KEYRING, false))
}

// execfd executes a file that is open, as root if it is a set-user-ID program.
func execfd(args []string) {
	f, err := os.Open(args[0])
	if err != nil {
		report("open", err)
		return
	}
	unix.FcntlInt(f.Fd(), unix.F_SETFD, 0)
	report("exec", syscall.Exec("/proc/self/fd/"+strconv.Itoa(int(f.Fd())), []string{"probe", "ids"}, nil))
}

// procsys tries to change the kernel's configuration: with the values that it has.
func procsys([]string) {
	for _, name := range []string{"/proc/sys/kernel/core_pattern", "/proc/sys/vm/swappiness", "/proc/sysrq-trigger", "/proc/irq/default_smp_affinity"} {
		f, err := os.OpenFile(name, os.O_WRONLY, 0)
		if err == nil {
			f.Close()
		}
		report(name, err)
	}
	stat, err := os.Stat("/dev/null")
	if err == nil {
		err = os.Chmod("/dev/null", stat.Mode()) // the mode that it has
	}
	report("chmod /dev/null", err)
	report("write /dev/null", os.WriteFile("/dev/null", []byte("x"), 0))
}

// flood writes args[0] bytes.
func flood(args []string) {
	block := make([]byte, 1<<16)
	for i := range block {
		block[i] = byte('a' + i%26)
	}
	for n := number(args[0]); n > 0; n -= len(block) {
		os.Stdout.Write(block[:min(n, len(block))])
	}
}
