package sandbox

import (
	"errors"
	"os"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// withAdvice adds advice to the error of a failed step: what to enable on this machine. It reads settings of the
// kernel only after a failure, because they do not show whether a sandbox works.
func withAdvice(err error) error {
	if e, ok := errors.AsType[*SetupError](err); ok && e.Advice == "" {
		e.Advice = advice(e)
	}
	return err
}

// setting returns a setting of the kernel, or "".
func setting(name string) string {
	b, err := os.ReadFile("/proc/sys/" + name)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

func advice(e *SetupError) string {
	switch {
	case e.Step == stepFilter:
		if name := emulator(); name != "" {
			return "This program runs under " + name + ", which cannot load a filter. Run a program for this machine, or set filter-syscalls = false."
		}
		return "This kernel has no system call filters for this machine (CONFIG_SECCOMP_FILTER)."
	case e.Step == stepGroups:
		return "Root may not give up its groups here. Set require-drop-supplementary-groups = false to keep them."
	case strings.HasPrefix(e.Step, stepRoot) && errors.Is(e.Err, unix.EACCES):
		return "A process in a user namespace has no right of root to enter all directories. Let all users enter each directory above it (chmod o+x)."
	case !errors.Is(e.Err, unix.EPERM) && !errors.Is(e.Err, unix.EACCES) && !errors.Is(e.Err, unix.ENOSPC) && !errors.Is(e.Err, unix.EUSERS) && !errors.Is(e.Err, unix.EINVAL):
		return ""
	}
	// These settings deny namespaces. AppArmor allows the namespace, and then denies the rights in it.
	switch {
	case setting("user/max_user_namespaces") == "0":
		return "User namespaces are switched off. As root: sysctl -w user.max_user_namespaces=10000"
	case setting("kernel/unprivileged_userns_clone") == "0" && unix.Geteuid() != 0:
		return "User namespaces are switched off for ordinary users. As root: sysctl -w kernel.unprivileged_userns_clone=1"
	case setting("kernel/apparmor_restrict_unprivileged_userns") == "1" && unix.Geteuid() != 0:
		return appArmorAdvice()
	case errors.Is(e.Err, unix.ENOSPC), errors.Is(e.Err, unix.EUSERS):
		return "There are too many namespaces. As root, raise user.max_user_namespaces, user.max_mnt_namespaces and the like."
	case inChroot():
		return "This process runs in a chroot, where the kernel makes no user namespaces. Use pivot_root, or run it outside."
	case inContainer():
		return "This process runs in a container that denies namespaces or mounts. Docker and Podman allow them with --privileged, or with\n" +
			"--security-opt seccomp=unconfined --security-opt apparmor=unconfined --security-opt systempaths=unconfined --cap-add SYS_ADMIN"
	case strings.HasPrefix(e.Step, stepStart):
		return "The kernel, or a security module, refuses to make namespaces (CONFIG_USER_NS)."
	}
	return ""
}

// appArmorAdvice is for Ubuntu 23.10 and later, where the kernel makes the namespace and then denies all rights in
// it.
func appArmorAdvice() string {
	program, err := os.Executable()
	if err != nil {
		program = "/usr/local/bin/pix"
	}
	return "AppArmor denies rights in user namespaces. As root, either allow them for this program:\n" +
		"  printf 'abi <abi/4.0>,\\ninclude <tunables/global>\\nprofile pix " + program + " flags=(unconfined) {\\n  userns,\\n}\\n' > /etc/apparmor.d/pix\n" +
		"  apparmor_parser -r /etc/apparmor.d/pix\n" +
		"or for all programs:\n" +
		"  sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"
}

// emulator returns the name of the emulator that runs this program, or "". /proc/cpuinfo describes the real
// processor.
func emulator() string {
	b, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return ""
	}
	text := string(b)
	x86 := strings.Contains(text, "GenuineIntel") || strings.Contains(text, "AuthenticAMD")
	switch {
	case strings.Contains(text, "VirtualApple"):
		return "Rosetta"
	case x86 != (runtime.GOARCH == "amd64" || runtime.GOARCH == "386"):
		return "an emulator such as qemu-user"
	}
	return ""
}

// inChroot reports whether this process runs in a chroot, whose root directory is not the root of the mount namespace.
func inChroot() bool {
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(b)) {
		if fields := strings.Fields(line); len(fields) > 4 && fields[4] == "/" {
			return false
		}
	}
	return true // the root directory is not a mount
}

// inContainer reports whether this process has the marks of a container.
func inContainer() bool {
	for _, file := range []string{"/.dockerenv", "/run/.containerenv", "/run/systemd/container"} {
		if _, err := os.Stat(file); err == nil {
			return true
		}
	}
	b, err := os.ReadFile("/proc/1/cgroup")
	return err == nil && (strings.Contains(string(b), "docker") || strings.Contains(string(b), "kubepods") || strings.Contains(string(b), "lxc"))
}
