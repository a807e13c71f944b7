package sandbox

import (
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// openTerminal returns the two sides of a new pseudo terminal in raw mode: log reads unchanged bytes that processes
// write to terminal. The terminal belongs to the user, so that a process can open /dev/stderr again.
func openTerminal(uid, gid int) (log, terminal *os.File, err error) {
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, &os.PathError{Op: "open", Path: "/dev/ptmx", Err: err}
	}
	log = os.NewFile(uintptr(fd), "/dev/ptmx")
	terminal, err = openPeer(fd)
	if err == nil {
		err = prepareTerminal(int(terminal.Fd()), uid, gid)
	}
	if err != nil {
		log.Close()
		if terminal != nil {
			terminal.Close()
		}
		return nil, nil, err
	}
	return log, terminal, nil
}

// openPeer opens the other side of a pseudo terminal. It opens it by the name /dev/pts/N only on kernels before 4.13:
// if /dev/pts and /dev/ptmx belong to different instances, that is another terminal.
func openPeer(fd int) (*os.File, error) {
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		return nil, os.NewSyscallError("TIOCSPTLCK", err)
	}
	flags := unix.O_RDWR | unix.O_NOCTTY | unix.O_CLOEXEC
	peer, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.TIOCGPTPEER, uintptr(flags))
	if errno == 0 {
		return os.NewFile(peer, "terminal"), nil
	}
	number, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		return nil, os.NewSyscallError("TIOCGPTN", err)
	}
	return os.OpenFile("/dev/pts/"+strconv.Itoa(number), flags, 0)
}

func prepareTerminal(fd, uid, gid int) error {
	t, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return os.NewSyscallError("TCGETS", err)
	}
	t.Iflag &^= unix.IGNBRK | unix.BRKINT | unix.PARMRK | unix.ISTRIP | unix.INLCR | unix.IGNCR | unix.ICRNL | unix.IXON
	t.Oflag &^= unix.OPOST
	t.Lflag &^= unix.ECHO | unix.ECHONL | unix.ICANON | unix.ISIG | unix.IEXTEN
	t.Cflag = t.Cflag&^(unix.CSIZE|unix.PARENB) | unix.CS8
	if err := unix.IoctlSetTermios(fd, unix.TCSETS, t); err != nil {
		return os.NewSyscallError("TCSETS", err)
	}
	if err := unix.Fchmod(fd, 0o600); err != nil {
		return os.NewSyscallError("fchmod", err)
	}
	if unix.Geteuid() == 0 {
		err := unix.Fchown(fd, uid, gid)
		if err == unix.EINVAL {
			return fmt.Errorf("the user namespace of this process does not have user %d and group %d: %w", uid, gid, err)
		}
		return os.NewSyscallError("fchown", err)
	}
	return nil
}
