package builder

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"

	"golang.org/x/sys/unix"

	"pix/activity"
	"pix/builder/sandbox"
	"pix/internal/parallel"
)

// A builder with the feature recursive-nix can use the store while it runs: query its inputs, add paths, and build.
// Its server listens on a socket in the build directory, which NIX_REMOTE names. [Request.Serve] serves the clients,
// and [Scope] decides what they see.

// recursiveFeature is the system feature that a derivation with such a builder requires.
const recursiveFeature = "recursive-nix"

// socketName is the name of the socket in the build directory.
const socketName = ".nix-socket"

// usesStore reports whether the builder gets a socket. A builtin has no use for one.
func (b *build) usesStore() bool {
	return b.options.RequiredSystemFeatures.Has(recursiveFeature) && !b.isBuiltin() || b.submits()
}

// listen opens the socket, and sets the scope of its clients.
func (b *build) listen() error {
	if !b.usesStore() {
		return nil
	}
	feature := recursiveFeature
	if b.submits() {
		if err := b.checkSubmits(); err != nil {
			return err
		}
		feature = "dynamic-derivations"
	}
	if b.req.Serve == nil {
		return fmt.Errorf("experimental Nix feature '%[1]s' is disabled; add '--extra-experimental-features %[1]s' to enable it", feature)
	}
	// The name of a socket has at most 107 bytes, and the name of the build directory may be longer.
	name := fmt.Sprintf("/proc/self/fd/%d/%s", b.dir.dir.Fd(), socketName)
	l, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: name})
	if err != nil {
		return fmt.Errorf("opening the socket for the builder of '%s': %w", b.req.Path, err)
	}
	l.SetUnlinkOnClose(false) // the descriptor may mean another directory then; the build directory is removed anyway
	b.socket = &builderListener{l, b.owner}
	b.scope = newScope(b)
	dir := int(b.dir.dir.Fd())
	err = unix.Fchmodat(dir, socketName, 0o600, 0)
	if err == nil && b.user != nil {
		err = unix.Fchownat(dir, socketName, b.user.uid, b.user.gid, unix.AT_SYMLINK_NOFOLLOW)
	}
	return os.NewSyscallError("giving the socket to the builder", err)
}

// shareStore mounts in the sandbox each path that is added to the scope.
func (b *build) shareStore(req *sandbox.Request, paths map[string]SandboxPath) {
	if b.scope == nil || b.submits() { // a builder that submits its outputs does not see added paths
		return
	}
	req.Live = sandbox.NewLive(string(b.store.Dir()))
	b.scope.live = req.Live
	for target := range paths {
		b.scope.mounted[target] = true
	}
}

// runServed runs the builder, and serves its clients meanwhile.
func (b *build) runServed(ctx context.Context, req *sandbox.Request, file io.Writer, id activity.ID) (*sandbox.Result, error) {
	defer b.serve(ctx)()
	return b.runLimited(ctx, req, file, id)
}

// serve serves the clients of the builder on a goroutine. The returned function ends that, after the end of the
// builder: it waits until all connections are closed and everything that they caused has ended. Then it adds the paths
// of the scope to those that the outputs may refer to.
func (b *build) serve(ctx context.Context) (end func()) {
	if b.socket == nil {
		return func() {}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	guard := parallel.Guard{Stop: cancel}
	done := make(chan struct{})
	go func() {
		defer close(done)
		err := guard.Call(func() error { return b.req.Serve(ctx, b.socket, b.scope) })
		if err != nil && ctx.Err() == nil {
			b.warn(fmt.Sprintf("serving the store to the builder of '%s': %v", b.req.Path, err))
		}
		b.closeSocket() // so that a builder that connects now does not wait for ever
	}()
	return func() {
		cancel(errBuilderEnded)
		<-done
		for path := range b.scope.added {
			b.closure[path] = true
		}
		guard.End()
		guard.Repanic()
	}
}

// errBuilderEnded is the cause with which the connections of a builder end.
var errBuilderEnded = errors.New("the builder has ended")

// closeSocket closes the listener, which may be closed already.
func (b *build) closeSocket() {
	if b.socket != nil {
		b.socket.Close()
	}
}

// A builderListener accepts the connections of the users of one build. Without a sandbox, the mode of the build
// directory keeps other users out, but a builder can change it.
type builderListener struct {
	*net.UnixListener
	owner ids
}

// Accept implements [net.Listener].
func (l *builderListener) Accept() (net.Conn, error) {
	for {
		nc, err := l.AcceptUnix()
		if err != nil {
			return nil, err
		}
		if l.admits(nc) {
			return nc, nil
		}
		nc.Close()
	}
}

// admits reports whether a client is a process of the build.
func (l *builderListener) admits(nc *net.UnixConn) bool {
	user, err := peerUser(nc)
	first := int64(l.owner.uid)
	return err == nil && user >= first && user < first+int64(max(l.owner.count, 1))
}
