package monitor

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// roleConnect is the name under which the program is executed again to connect as another user.
const roleConnect = "pix-monitor-connect"

// mainCalled is set if this program calls Main.
var mainCalled atomic.Bool

// Main must be called first in a program that monitors other users' clients, before it opens files
// or starts goroutines. It does not return in a process that connects as another user.
func Main() {
	if len(os.Args) > 0 && os.Args[0] == roleConnect {
		syscall.Exit(connectMain(os.Args[1:]))
	}
	mainCalled.Store(true)
}

// connectTimeout limits the time of the child process.
const connectTimeout = 10 * time.Second

// connecting limits the child processes at the same time: any user can open many connections.
var connecting = make(chan struct{}, 16)

// connectAs connects to a Unix socket with the user and groups of a client. A child process of this
// program takes them, connects, and passes the connection back.
func connectAs(ctx context.Context, path string, client *Client) (net.Conn, error) {
	if !mainCalled.Load() {
		return nil, errors.New("this program cannot connect as another user, because it does not call monitor.Main")
	}
	groups, err := groupsOf(client) // before it waits, as the process may end
	if err != nil {
		return nil, err
	}
	select {
	case connecting <- struct{}{}:
		defer func() { <-connecting }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	ours, theirs, err := socketPair()
	if err != nil {
		return nil, err
	}
	defer ours.Close()
	var stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, "/proc/self/exe")
	cmd.Args = append([]string{roleConnect, path, strconv.Itoa(client.UID), strconv.Itoa(client.GID)}, groups...)
	cmd.Env, cmd.Dir, cmd.Stderr = []string{}, "/", &stderr
	cmd.ExtraFiles = []*os.File{theirs}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // an interrupt is for the monitor
	err = cmd.Run()
	theirs.Close()
	if err != nil {
		return nil, fmt.Errorf("connecting as user %d: %w", client.UID, childError(ctx, err, stderr.String()))
	}
	return receiveConn(ours)
}

// childError returns why a child process has failed with err. If the end of the context has killed it, err has only the
// signal.
func childError(ctx context.Context, err error, stderr string) error {
	message := strings.TrimSpace(stderr)
	switch {
	case message != "":
		return errors.New(message)
	case errors.Is(ctx.Err(), context.DeadlineExceeded): // the queue of the daemon's socket is full
		return errors.New("the daemon did not accept the connection in time")
	case ctx.Err() != nil:
		return ctx.Err()
	}
	return err
}

// groupsOf returns the supplementary groups of a client. If its process has ended, or another user
// owns it now, the result is empty: then the connection has fewer rights than the client, never more.
func groupsOf(client *Client) ([]string, error) {
	if client.PID <= 0 {
		return nil, nil
	}
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", client.PID))
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var groups []string
	in := bufio.NewScanner(bytes.NewReader(b))
	in.Buffer(nil, len(b)+1)
	for in.Scan() {
		name, value, _ := strings.Cut(in.Text(), ":")
		words := strings.Fields(value)
		switch {
		case name == "Uid" && (len(words) < 2 || words[1] != strconv.Itoa(client.UID)): // the effective one
			return nil, nil
		case name == "Groups":
			groups = words
		}
	}
	return groups, in.Err()
}

// socketPair returns two connected sockets.
func socketPair() (ours, theirs *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	return os.NewFile(uintptr(fds[0]), "socketpair"), os.NewFile(uintptr(fds[1]), "socketpair"), nil
}

// receiveConn receives the connection that a child has sent before it ended.
func receiveConn(f *os.File) (net.Conn, error) {
	buf, control := make([]byte, 1), make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := unix.Recvmsg(int(f.Fd()), buf, control, unix.MSG_CMSG_CLOEXEC|unix.MSG_DONTWAIT)
	if err != nil {
		return nil, os.NewSyscallError("recvmsg", err)
	}
	messages, err := unix.ParseSocketControlMessage(control[:n])
	if err != nil || len(messages) != 1 {
		return nil, fmt.Errorf("the process that connects has sent no connection: %w", errors.Join(err, io.ErrUnexpectedEOF))
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		return nil, fmt.Errorf("the process that connects has sent %d files: %w", len(fds), errors.Join(err, io.ErrUnexpectedEOF))
	}
	conn := os.NewFile(uintptr(fds[0]), "connection")
	defer conn.Close()
	return net.FileConn(conn)
}

// connectMain is the main function of the child process: it takes the user, connects, and sends the
// connection to its parent on descriptor 3.
func connectMain(args []string) int {
	fd, err := connectWith(args)
	if err == nil {
		err = unix.Sendmsg(3, []byte{0}, unix.UnixRights(fd), nil, 0)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// dropPrivileges removes the capabilities that this thread has kept, if the monitor was started with
// bits that keep them across a change of the user. The client, to whom this process now belongs, must
// not trace it either.
func dropPrivileges() error {
	runtime.LockOSThread() // the thread that connects
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var none [2]unix.CapUserData
	if err := unix.Capset(&header, &none[0]); err != nil {
		return os.NewSyscallError("capset", err)
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return os.NewSyscallError("prctl", err)
	}
	return os.NewSyscallError("prctl", unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0))
}

// connectWith takes the user and the groups in the arguments, and connects to the socket.
func connectWith(args []string) (fd int, err error) {
	if len(args) < 3 {
		return -1, errors.New("arguments are missing")
	}
	var ids []int
	for _, arg := range args[1:] {
		id, err := strconv.Atoi(arg)
		if err != nil || id < 0 {
			return -1, fmt.Errorf("%q is not an id", arg)
		}
		ids = append(ids, id)
	}
	uid, gid, groups := ids[0], ids[1], ids[2:]
	if uid == 0 {
		return -1, errors.New("it must not connect as root")
	}
	if err := syscall.Setgroups(groups); err != nil {
		return -1, os.NewSyscallError("setgroups", err)
	}
	if err := syscall.Setresgid(gid, gid, gid); err != nil {
		return -1, os.NewSyscallError("setresgid", err)
	}
	if err := syscall.Setresuid(uid, uid, uid); err != nil {
		return -1, os.NewSyscallError("setresuid", err)
	}
	if err := dropPrivileges(); err != nil {
		return -1, err
	}
	if fd, err = unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0); err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	for {
		err = unix.Connect(fd, &unix.SockaddrUnix{Name: args[0]})
		switch err {
		case nil:
			return fd, nil
		case unix.EINTR:
		default:
			return -1, connectError(args[0], err)
		}
	}
}
