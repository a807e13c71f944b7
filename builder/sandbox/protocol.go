package sandbox

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"
)

// greeting is the first thing that a supervisor and a set-up process send. It ends in the version of the messages: a
// helper of another version is refused before it gets any of them.
const greeting = "pix sandbox 5\n"

// Roles are the names by which this program is executed again, as argv[0].
const (
	roleSupervisor = "pix-sandbox-supervisor"
	roleReaper     = "pix-sandbox-reaper"
	roleKeeper     = "pix-sandbox-keeper"
	roleSetup      = "pix-sandbox-setup"
	roleSpare      = "pix-sandbox-spare" // a set-up process without a request
	roleBuiltin    = "pix-sandbox-builtin"
	roleKill       = "pix-sandbox-kill"    // the supervisor does that itself
	roleNothing    = "pix-sandbox-nothing" // ends at once
)

// The descriptors that these processes inherit, after standard input, output and error.
const (
	socketFD     = 3 // of a supervisor its control socket; of the others the socket to the caller of Run
	executableFD = 4 // the executable that runs builtins
	syncFD       = 5 // of a builtin: to its set-up process
	mountsFD     = 5 // of a keeper: to the caller of Run, for mounts
	lifeFD       = 5 // of a set-up process with a keeper: hangs up when the keeper ends
	rootFD       = 5 // of a spare, and a set-up process with the argument memoryRoot: a file system for the root directory
)

// A launch asks the supervisor to start a process in a role.
type launch struct {
	role                  string
	namespaces, network   bool
	mounts, cgroup        bool // a descriptor for mounts, or of the cgroup, follows
	memory                bool // the root directory is in memory
	spare                 bool // a spare can serve the request
	locks                 int  // descriptors of so many locks follow
	uid, gid              int
	hostUID, hostGID, ids int
	remount, sharedMemory string
}

func (l *launch) code(c *coder) {
	c.string(&l.role)
	c.bool(&l.namespaces)
	c.bool(&l.network)
	c.bool(&l.mounts)
	c.bool(&l.cgroup)
	c.bool(&l.memory)
	c.bool(&l.spare)
	for _, p := range []*int{&l.locks, &l.uid, &l.gid, &l.hostUID, &l.hostGID, &l.ids} {
		c.int(p)
	}
	c.string(&l.remount)
	c.string(&l.sharedMemory)
}

// maxLocks is how many locks a request can have.
const maxLocks = 8

// maxDescriptors is how many descriptors a launch has at most: see newJob.
const maxDescriptors = 5 + maxLocks

// maxLaunch is more than a launch or an event takes. The names of files have at most 4096 bytes.
const maxLaunch = 16 << 10

// An event reports the start of a process, a failed step of its start or set-up, or its end.
type event struct {
	ok           bool
	step         string
	errno        int // 0 if the error does not come from a system call
	text         string
	status       int // as wait reports it
	user, system time.Duration
}

func (e *event) code(c *coder) {
	c.bool(&e.ok)
	c.string(&e.step)
	c.int(&e.errno)
	c.string(&e.text)
	c.int(&e.status)
	for _, d := range []*time.Duration{&e.user, &e.system} {
		n := uint64(*d)
		c.uint(&n)
		*d = time.Duration(n)
	}
}

// A builtinCall names the builtin to run, with its working directory and input.
type builtinCall struct {
	name, dir string
	input     []byte
}

func (b *builtinCall) code(c *coder) {
	c.string(&b.name)
	c.string(&b.dir)
	c.bytes(&b.input)
}

// maxMessage limits the size of a message between processes of this package.
const maxMessage = 1 << 30

// writeMessage sends a message on a stream, with its length.
func writeMessage(w io.Writer, m message) error {
	data := encode(m)
	framed := binary.LittleEndian.AppendUint64(make([]byte, 0, 8+len(data)), uint64(len(data)))
	_, err := w.Write(append(framed, data...))
	return err
}

// readMessage receives a message. It returns io.EOF if the stream ends before a message.
func readMessage(r io.Reader, m message) error {
	var length [8]byte
	if _, err := io.ReadFull(r, length[:]); err != nil {
		return err
	}
	n := binary.LittleEndian.Uint64(length[:])
	if n > maxMessage {
		return errMalformed
	}
	data := make([]byte, n)
	if _, err := io.ReadFull(r, data); err != nil {
		return err
	}
	return decode(data, m)
}

// readGreeting returns an error unless the next bytes are the greeting of this version.
func readGreeting(r io.Reader) error {
	got := make([]byte, len(greeting))
	n, err := io.ReadFull(r, got)
	switch {
	case err == nil && string(got) == greeting:
		return nil
	case err == nil, errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("it sent %q", got[:n])
	case errors.Is(err, io.EOF):
		return errors.New("it gave no answer")
	}
	return err
}
