package builder

import (
	"context"
	"net"
	"time"

	"pix/activity"
	"pix/derivation"
	"pix/internal/activebuilds"
	"pix/store"
	"pix/storepath"
)

// A build is one derivation that is being built.
type build struct {
	store   Store
	opts    *Options
	req     *Request
	drv     *derivation.Derivation
	options *derivation.Options // of the derivation
	kind    derivation.OutputKind

	// closure has the paths of the input closure.
	closure map[storepath.Path]bool

	// outputs are the outputs of the derivation, sorted by name.
	outputs []*output

	// sandboxed says that the builder runs in a sandbox. pure says that it has no network, because its outputs are
	// neither fixed nor impure.
	sandboxed, pure bool

	// seesSockets says that the builder may reach sockets of processes outside its sandbox through the file system.
	seesSockets bool

	// root is the directory that the builder sees as /; "" without a sandbox.
	root string

	// owner has the users and groups that the files of the outputs must belong to.
	owner ids

	users    userSource
	user     *userLock // nil without build users
	dir      *buildDir
	chroot   *chroot  // nil without a sandbox
	cgroup   string   // directory of the builder's cgroup; "" for none
	rewrites rewrites // of what the builder is given

	// scope and socket are nil unless the builder uses the store.
	scope  *Scope
	socket net.Listener

	handler  activity.Handler // never nil
	log      *buildLog
	tracked  *activebuilds.Tracked // nil before the process runs
	ownShell bool                  // /bin/sh in the sandbox is pix-sh

	started, stopped   time.Time
	cpuUser, cpuSystem time.Duration
	timesBuilt         uint64

	locks    Locks  // of the outputs
	buildDir string // the directory in which the builder began, for the diff hook
}

// An output is one output of a build.
type output struct {
	name    string
	path    storepath.Path // the final path; "" if it depends on the contents
	scratch storepath.Path // the path that the builder writes to
	known   storepath.Path // the path that an earlier build has registered, if path is ""
	valid   bool           // path or known was valid before the build
	corrupt bool           // in a repair: path is valid, but its object is damaged
}

// redirected reports whether a path of the output is known and the builder writes to another one.
func (o *output) redirected() bool { return o.lastPath() != "" && o.lastPath() != o.scratch }

// ids are count users from uid on and count groups from gid on, on this machine. A count of 0 means that there is no
// build user: uid and gid belong to this process.
type ids struct{ uid, gid, count int }

// A Failure says why a build failed, with the status and the text of Nix.
type Failure struct {
	Status  store.BuildStatus
	Message string

	// HashMismatch says that the contents of a fixed output have another hash than the derivation demands. Status is
	// [store.OutputRejected] then.
	HashMismatch bool
}

func (f *Failure) Error() string { return f.Message }

// say reports a message to the handler.
func (b *build) say(level activity.Verbosity, text string) {
	b.handler.HandleEvent(activity.Log{Level: level, Text: text})
}

// warn reports a warning.
func (b *build) warn(text string) { b.say(activity.LevelWarn, "warning: "+text) }

// contextDone returns the error of a context that has ended, with its cause.
func contextDone(ctx context.Context) error {
	if ctx.Err() == nil {
		return nil
	}
	return context.Cause(ctx)
}
