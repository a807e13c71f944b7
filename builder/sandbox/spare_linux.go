package sandbox

import (
	"os"
	"path"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A spare is a set-up process that waits for its request. While a process runs, the supervisor starts a spare for the next
// one. The spare makes everything that does not depend on the request: namespaces, the filter, /dev and /proc. With spares, 101
// trivial builds one after the other took 0.79 s; without them, 1.14 s.
//
// A spare serves one request and ends with it. Only a request with the parameters of its start gets it: users, network, size of
// /dev/shm. It has a copy of the mounts of the machine, so the supervisor discards all spares when these change. Only root
// has spares, because only root can make a root directory in memory whose files belong to root.

// spareTime is how long the supervisor keeps spares after its last job, and for how long it expects another job like it.
const spareTime = time.Second

// readyTime bounds how long the supervisor waits for a spare that is starting. A spare takes about 5 ms.
const readyTime = 5 * time.Second

// A spare is the supervisor's side of a spare.
type spare struct {
	socket  *os.File // to the process: the launch; ready; the descriptors of a job; received
	process *os.Process
	handle  *os.File // a pidfd; nil on kernels before 5.3
}

// spares are the spares of a supervisor.
type spares struct {
	waiting map[launch]*spare
	recent  map[launch]time.Time // when jobs were started
	mounts  int                  // /proc/self/mountinfo; -1 if it cannot be opened
	next    *launch              // the last job may need a spare for the next one
}

// openSpares returns the spares of a supervisor, which has none yet.
func openSpares() *spares {
	// An os.File would be polled by the Go runtime too, which would take the events.
	mounts, err := unix.Open("/proc/self/mountinfo", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		mounts = -1
	}
	return &spares{waiting: make(map[launch]*spare), recent: make(map[launch]time.Time), mounts: mounts}
}

// canUseSpare reports whether a spare can serve a request. Mounts of the request below /dev and /proc must come before
// the mounts that a spare has made.
func (r *Request) canUseSpare() bool {
	if r.Root == "" || !r.Memory || r.Live != nil || r.Builtin != "" || r.Cgroup != "" || r.IDs > 1 || r.oldMounts {
		return false
	}
	return !slices.ContainsFunc(r.Mounts, func(m Mount) bool {
		target := path.Clean(m.Target)
		first, _, _ := strings.Cut(strings.TrimPrefix(target, "/"), "/")
		return (first == "dev" || first == "proc") && target != "/dev/kvm"
	})
}

// key returns the parameters that a spare shares with a job.
func (l *launch) key() launch {
	key := *l
	key.locks = 0
	return key
}

// take returns a spare that has the descriptors of a job, or nil.
func (s *supervisor) take(j *job) *spare {
	if !j.spare {
		return nil
	}
	if s.spares.mountsChanged() {
		s.discardSpares()
	}
	key := j.key()
	p := s.spares.waiting[key]
	if p == nil {
		return nil
	}
	delete(s.spares.waiting, key)
	if err := p.handOver(j); err != nil {
		s.discard(p) // the job gets a new process, which reports what the machine refuses
		return nil
	}
	p.socket.Close()
	return p
}

// handOver waits until a spare is ready, sends it the descriptors of a job, and waits until the spare has them: the socket of a
// killed spare still takes messages until the kernel has closed it.
func (p *spare) handOver(j *job) error {
	if err := p.socket.SetReadDeadline(time.Now().Add(readyTime)); err != nil {
		return err
	}
	if _, _, err := receiveFiles(p.socket, 1, 0); err != nil {
		return err
	}
	if err := sendFiles(p.socket, []byte{1}, j.socket, j.output); err != nil {
		return err
	}
	_, _, err := receiveFiles(p.socket, 1, 0)
	return err
}

// mountsChanged reports whether the mounts of the machine have changed since the last call. A spare has a copy of them.
func (s *spares) mountsChanged() bool {
	n, err := unix.Poll([]unix.PollFd{{Fd: int32(s.mounts), Events: unix.POLLPRI}}, 0)
	return s.mounts < 0 || err != nil || n > 0
}

// launched notes that a job was started. If the previous job like it was started a moment ago, another one may follow.
func (s *spares) launched(j *job) {
	if !j.spare {
		return
	}
	key, now := j.key(), time.Now()
	if now.Sub(s.recent[key]) < spareTime {
		s.next = &key
	}
	s.recent[key] = now
}

// prepareSpare starts a spare for the next job if one is expected.
func (s *supervisor) prepareSpare() {
	key := s.spares.next
	s.spares.next = nil
	if key == nil || s.spares.waiting[*key] != nil || len(s.spares.waiting) >= runtime.NumCPU() {
		return
	}
	ours, theirs, err := socketPair(unix.SOCK_SEQPACKET)
	if err != nil {
		return
	}
	defer theirs.Close()
	j := &job{launch: *key, socket: theirs, output: s.null}
	root := j.memoryRoot()
	if root == nil {
		ours.Close()
		return
	}
	defer root.Close()
	j.role = roleSpare
	pidfd := -1
	attr := s.attributes(j)
	attr.PidFD = &pidfd
	process, err := s.execute(j, attr, j.arguments(), root)
	if err != nil {
		ours.Close()
		closePipes()
		return
	}
	p := &spare{socket: ours, process: process}
	if pidfd >= 0 {
		p.handle = os.NewFile(uintptr(pidfd), "process")
	}
	if err := sendFiles(ours, encode(key)); err != nil {
		s.discard(p)
		return
	}
	s.spares.waiting[*key] = p
}

// discard ends a spare that serves no request.
func (s *supervisor) discard(p *spare) {
	p.socket.Close()
	if p.handle != nil {
		p.handle.Close()
	}
	_ = p.process.Kill()
	s.watching.Go(func() { _, _ = p.process.Wait() })
}

// discardSpares ends all spares.
func (s *supervisor) discardSpares() {
	for key, p := range s.spares.waiting {
		s.discard(p)
		delete(s.spares.waiting, key)
	}
	clear(s.spares.recent)
	s.spares.next = nil
}

// releaseTime is how long the supervisor waits until the namespaces of discarded spares are gone. The kernel destroys them
// in the background, usually within milliseconds.
const releaseTime = time.Second

// forkWithoutSpares ends all spares and starts the process of a job. A limit of the machine on processes or namespaces must not
// fail a job because a spare has taken the last place.
func (s *supervisor) forkWithoutSpares(j *job, attr *syscall.SysProcAttr) (process *os.Process, handle *os.File, err error) {
	s.discardSpares()
	for deadline := time.Now().Add(releaseTime); ; time.Sleep(10 * time.Millisecond) {
		closePipes()
		process, handle, err = s.forkWithHandle(j, attr)
		if err == nil || time.Now().After(deadline) {
			return process, handle, err
		}
	}
}

// spareMain is a spare. It ends without a message if the machine refuses a step: the supervisor then starts another process,
// which reports it.
func spareMain() int {
	runtime.LockOSThread() // see setUp
	supervisor := os.NewFile(socketFD, "supervisor")
	s := &setup{executable: os.NewFile(executableFD, "executable"), prepared: true}
	data, _, err := receiveFiles(supervisor, maxLaunch, 0)
	var l launch
	if err != nil || decode(data, &l) != nil {
		return 1
	}
	s.req = Request{
		Root: "/", Memory: true, Network: l.network, UID: l.uid, GID: l.gid, HostUID: l.hostUID, HostGID: l.hostGID, IDs: l.ids,
		SharedMemory: l.sharedMemory,
	}
	for _, st := range s.spareSteps() {
		if err := st.do(); err != nil {
			return 1
		}
	}
	if _, err := supervisor.Write([]byte{1}); err != nil {
		return 1
	}
	_, files, err := receiveFiles(supervisor, 1, 2)
	if err != nil || len(files) != 2 {
		return 1 // the supervisor has discarded this spare
	}
	if _, err := supervisor.Write([]byte{1}); err != nil {
		return 1
	}
	supervisor.Close()
	s.socket = files[0]
	for _, fd := range []int{1, 2} {
		if err := unix.Dup3(int(files[1].Fd()), fd, 0); err != nil {
			return 1
		}
	}
	files[1].Close()
	return s.serve()
}

// spareSteps returns the steps of a set-up that do not depend on the request.
func (s *setup) spareSteps() []step {
	steps := append(s.firstSteps(), step{stepFilter, s.loadFilter})
	steps = append(steps, s.namespaceSteps()...)
	return append(steps, []step{
		{"making mounts private", makePrivate},
		{"mounting the root directory", s.mountSpareRoot},
		{"making /dev", s.inRoot(makeDevices)},
		{"mounting /proc", s.mountProc},
		{"mounting /dev/shm", s.mountShm},
		{"mounting /dev/pts", s.inRoot(mountPts)},
	}...)
}

// mountSpareRoot mounts the inherited file system over the root directory of the machine, because the name of the request's root
// directory is not known yet. The root directory of this process stays below it.
func (s *setup) mountSpareRoot() error {
	if err := unix.MountSetattr(-1, "", unix.AT_EMPTY_PATH, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}); err == unix.ENOSYS {
		return err
	}
	s.root = &tree{fd: rootFD, path: "/", root: s.req.HostUID == 0, uid: s.req.UID, gid: s.req.GID}
	unix.CloseOnExec(rootFD)
	return unix.MoveMount(rootFD, "", unix.AT_FDCWD, "/", unix.MOVE_MOUNT_F_EMPTY_PATH)
}

// preparedSteps returns the steps for the mounts of a request on a spare.
func (s *setup) preparedSteps() []step {
	steps := []step{
		{stepGroups, s.checkGroups},
		{"mounting the root directory " + s.req.Root, s.mountPrepared},
		{"making files", s.makeFiles},
	}
	steps = append(steps, s.bindSteps()...)
	return append(steps, s.sealSteps()...)
}

// mountPrepared moves the root directory in memory to the root directory on the disk, and mounts the writable directories of
// the latter in it. Over the root directory of the machine, it would change the meaning of sources: "/.." and links that lead
// above the root directory end in the topmost mount there, and a mount of "/" would show that too.
func (s *setup) mountPrepared() error {
	memory := s.root
	if err := s.openRoot(); err != nil {
		return err
	}
	disk := s.root
	defer unix.Close(disk.fd)
	return s.mountWritable(disk, func() error {
		memory.path, s.root = disk.path, memory
		return unix.MoveMount(memory.fd, "", disk.fd, "", unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH)
	})
}
