package builder

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"pix/activity"
	"pix/builder/sandbox"
	"pix/derivation"
	"pix/store"
	"pix/storepath"
)

// run builds the derivation, unless it cannot or need not be built.
func (b *build) run(ctx context.Context) (status store.BuildStatus, outputs map[string]store.Realisation, err error) {
	if err := b.reject(); err != nil {
		return 0, nil, err
	}
	if err := b.decideSandbox(); err != nil {
		return 0, nil, err
	}
	locks, err := b.lock(ctx)
	if err != nil {
		return 0, nil, err
	}
	defer locks.Release()
	b.locks = locks
	allValid, err := b.checkValid(ctx)
	if err != nil {
		return 0, nil, err
	}
	if allValid && b.req.Mode != store.BuildCheck {
		return store.AlreadyValid, b.validOutputs(), nil
	}
	if err := b.removeInvalid(ctx); err != nil {
		return 0, nil, err
	}
	outputs, err = b.buildLocked(ctx)
	if err == nil && b.req.Mode == store.BuildCheck {
		outputs = b.validOutputs()
	}
	return store.Built, outputs, err
}

// buildLocked builds the derivation. The outputs are locked.
func (b *build) buildLocked(ctx context.Context) (outputs map[string]store.Realisation, err error) {
	if err := b.findClosure(ctx); err != nil {
		return nil, err
	}
	c, err := b.contentFor(ctx)
	if err != nil {
		return nil, err
	}
	if err := b.rejectNUL(c); err != nil {
		return nil, err
	}
	defer func() {
		if cleaning := b.cleanUp(ctx, err == nil); cleaning != nil {
			// What was built is valid all the same, and what failed has a reason of its own.
			b.warn(fmt.Sprintf("cleaning up after the build of '%s': %v", b.req.Path, cleaning))
		}
	}()
	req, err := b.prepare(ctx, c)
	if err != nil {
		return nil, err
	}
	return b.execute(ctx, req)
}

// prepare makes everything that the builder needs: a user, directories and files.
func (b *build) prepare(ctx context.Context, c *content) (*sandbox.Request, error) {
	if err := b.takeUser(ctx); err != nil {
		return nil, err
	}
	b.owner = ids{os.Geteuid(), os.Getegid(), 0}
	if b.user != nil {
		b.owner = b.user.ids
		// A process of an earlier build could change the files of this one.
		if err := b.killUser(ctx); err != nil {
			return nil, err
		}
		if err := b.shareStoreDir(); err != nil {
			return nil, err
		}
	}
	if err := b.assignScratch(); err != nil {
		return nil, err
	}
	var err error
	if b.cgroup, err = b.makeCgroup(); err != nil {
		return nil, err
	}
	if b.dir, err = b.makeBuildDir(); err != nil {
		return nil, err
	}
	b.buildDir = b.dir.path
	if err := b.clearScratch(ctx); err != nil {
		return nil, err
	}
	req := &sandbox.Request{
		Program: b.drv.Builder, Args: b.arguments(), Env: b.environment(c), Dir: b.dirInSandbox(),
		HostUID: b.owner.uid, HostGID: b.owner.gid, UID: b.owner.uid, GID: b.owner.gid, IDs: 1,
		Network: !b.pure, System: b.drv.Platform, Linux26: b.opts.Linux26, SharedMemory: b.opts.SharedMemory,
		KeepGroups: !b.opts.RequireDropSupplementaryGroups, OptionalFilter: b.opts.OptionalFilter,
		Cgroup: b.cgroup,
	}
	if b.user != nil {
		req.Groups = b.user.groups
	}
	for _, name := range sortedKeys(c.files) {
		if err := b.writeBuilderFile(name, b.rewrites.apply(c.files[name])); err != nil {
			return nil, err
		}
	}
	if b.isBuiltin() {
		if err := b.useBuiltin(req); err != nil {
			return nil, err
		}
	}
	if b.sandboxed {
		return req, b.prepareSandbox(ctx, req)
	}
	if _, err := os.Lstat(homeDir); err == nil {
		return nil, fmt.Errorf("home directory %q exists; please remove it to assure purity of builds without sandboxing", homeDir)
	}
	return req, nil
}

// clearScratch removes what an earlier build has left at scratch paths in the store.
func (b *build) clearScratch(ctx context.Context) error {
	if b.sandboxed {
		return nil
	}
	for _, o := range b.outputs {
		if o.redirected() || o.path == "" {
			if err := b.store.RemoveObject(ctx, o.scratch); err != nil {
				return err
			}
		}
	}
	return nil
}

// prepareSandbox makes the root of the sandbox.
func (b *build) prepareSandbox(ctx context.Context, req *sandbox.Request) (err error) {
	if b.chroot, err = b.makeChroot(ctx); err != nil {
		return err
	}
	b.root = b.chroot.root
	if err := b.fillRoot(); err != nil {
		return err
	}
	paths, err := b.sandboxPaths(ctx)
	if err != nil {
		return err
	}
	if err := b.checkShell(paths); err != nil {
		return err
	}
	mounts, err := b.mounts(paths)
	if err != nil {
		return err
	}
	if req.Mounts, err = b.sealEtc(mounts); err != nil {
		return err
	}
	req.Root = b.root
	req.Writable = []string{string(b.store.Dir()), "/tmp"}
	req.RootWritable = b.uidRange()
	req.UID, req.GID = b.idsInSandbox()
	req.IDs = max(b.owner.count, 1)
	return nil
}

// The reasons for which a build is ended that its limits say.
var (
	errTimeout = errors.New("the build takes too long")
	errSilent  = errors.New("the build prints nothing")
)

// execute runs the builder, and registers its outputs.
func (b *build) execute(ctx context.Context, req *sandbox.Request) (map[string]store.Realisation, error) {
	file, err := b.openLog(ctx)
	if err != nil {
		return nil, err
	}
	if file != nil {
		defer file.Close()
	}
	start := b.startActivity()
	defer func() { b.handler.HandleEvent(activity.Stop{ID: start}) }()
	result, err := b.runLimited(ctx, req, file, start)
	if err != nil {
		return nil, err
	}
	if result.ExitCode != 0 {
		return nil, b.exitFailure(result)
	}
	return b.finishOutputs(ctx)
}

func (b *build) openLog(ctx context.Context) (io.WriteCloser, error) {
	if b.opts.DiscardLog {
		return nil, nil
	}
	return b.store.CreateLog(ctx, b.req.Path)
}

// startActivity reports that the build begins.
func (b *build) startActivity() activity.ID {
	verb := map[store.BuildMode]string{store.BuildNormal: "building", store.BuildRepair: "repairing outputs of", store.BuildCheck: "checking outputs of"}[b.req.Mode]
	id := activity.NewID()
	b.handler.HandleEvent(activity.Start{
		ID: id, Level: activity.LevelInfo, Type: activity.Build, Text: fmt.Sprintf("%s '%s'", verb, b.req.Path),
		Fields: []activity.Field{activity.Text(string(b.req.Path)), activity.Text(""), activity.Number(1), activity.Number(1)},
	})
	return id
}

// runLimited runs the builder until it ends, or a limit is reached. The error is a [*Failure] for a limit.
func (b *build) runLimited(ctx context.Context, req *sandbox.Request, file io.Writer, id activity.ID) (*sandbox.Result, error) {
	limited, end := context.WithCancelCause(ctx)
	defer end(nil)
	b.log = &buildLog{file: file, events: b.handler, id: id, most: b.opts.logLines(), maxSize: b.opts.MaxLogSize, onWrite: func() {}}
	if limit := b.opts.Timeout; limit > 0 {
		defer time.AfterFunc(limit, func() { end(errTimeout) }).Stop()
	}
	if limit := b.opts.MaxSilentTime; limit > 0 {
		silent := time.AfterFunc(limit, func() { end(errSilent) })
		defer silent.Stop()
		b.log.onWrite = func() { silent.Reset(limit) }
	}
	b.started = time.Now().Truncate(time.Second)
	result, err := b.opts.executor().Run(limited, req, b.log)
	b.timesBuilt++
	b.stopped = time.Now().Truncate(time.Second)
	b.log.end()
	if result != nil {
		b.cpuUser, b.cpuSystem = result.CPUUser, result.CPUSystem
	}
	if killing := errors.Join(b.killLeftovers(ctx), b.removeCgroup()); killing != nil {
		return nil, killing
	}
	return result, cmp.Or(b.limitReached(ctx, context.Cause(limited), result), b.runError(err))
}

// runError returns why the builder could not be run. If another attempt can succeed, that is a failure of this build alone.
func (b *build) runError(err error) error {
	if errors.Is(err, sandbox.ErrLost) {
		return &Failure{Status: store.TransientFailure, Message: fmt.Sprintf("Cannot build '%s'.\nReason: %v.", b.req.Path, err)}
	}
	return err
}

// limitReached returns why the builder was ended, or nil. One that has succeeded has done so before its limit.
func (b *build) limitReached(ctx context.Context, cause error, result *sandbox.Result) error {
	ended := result == nil || result.ExitCode != 0
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(b.log.err, errLogLimit):
		return &Failure{Status: store.LogLimitExceeded, Message: fmt.Sprintf("building derivation '%s' killed after writing more than %d bytes of log output", b.req.Path, b.opts.MaxLogSize)}
	case b.log.err != nil:
		return fmt.Errorf("writing the log of '%s': %w", b.req.Path, b.log.err)
	case ended && errors.Is(cause, errTimeout):
		return timedOut(b.opts.Timeout)
	case ended && errors.Is(cause, errSilent):
		return timedOut(b.opts.MaxSilentTime)
	}
	return nil
}

func timedOut(limit time.Duration) *Failure {
	return &Failure{Status: store.TimedOut, Message: fmt.Sprintf("timed out after %d seconds", limit/time.Second)}
}

// exitFailure says how the builder failed.
func (b *build) exitFailure(result *sandbox.Result) *Failure {
	f := &Failure{Status: store.PermanentFailure}
	diskFull := b.isDiskFull()
	if !b.pure || diskFull {
		f.Status = store.TransientFailure
	}
	var m strings.Builder
	fmt.Fprintf(&m, "Cannot build '%s'.\nReason: builder %s.", b.req.Path, describeExit(result.ExitCode, result.Signal))
	m.WriteString(b.knownOutputs())
	if tail := b.log.tail; len(tail) > 0 {
		fmt.Fprintf(&m, "\nLast %d log lines:\n", len(tail))
		for _, line := range tail {
			m.WriteString("> " + line + "\n")
		}
		fmt.Fprintf(&m, "For full logs, run:\n  %s %s", b.opts.logCommand(), b.req.Path)
	}
	if diskFull {
		m.WriteString("\nnote: build failure may have been caused by lack of free disk space")
	}
	f.Message = m.String()
	return f
}

// knownOutputs lists the output paths that are known before the build, for messages.
func (b *build) knownOutputs() string {
	var paths []storepath.Path
	for _, o := range b.outputs {
		if o.path != "" && b.kind != derivation.Impure {
			paths = append(paths, o.path)
		}
	}
	if len(paths) == 0 {
		return ""
	}
	slices.Sort(paths)
	var s strings.Builder
	s.WriteString("\nOutput paths:")
	for _, path := range slices.Compact(paths) {
		s.WriteString("\n  " + string(path))
	}
	return s.String()
}

// minFree is how many bytes must be free for a failure not to be blamed on a full disk.
const minFree = 8 << 20

// isDiskFull reports whether a full disk may be why the builder failed.
func (b *build) isDiskFull() bool {
	for _, file := range []string{b.storeDir(), b.dir.path} {
		var st unix.Statfs_t
		if unix.Statfs(file, &st) == nil && uint64(st.Bavail)*uint64(st.Bsize) < minFree {
			return true
		}
	}
	return false
}

// logCommand returns the command that shows a log.
func (o *Options) logCommand() string { return cmp.Or(o.LogCommand, "nix log") }

func (o *Options) logLines() int {
	switch {
	case o.LogLines == 0:
		return 25
	case o.LogLines < 0:
		return 0
	}
	return o.LogLines
}
