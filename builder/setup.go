package builder

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"pix/builder/sandbox"
)

// prepare takes a build user, makes the directories and files for the builder, and returns the request that runs it.
func (b *build) prepare(ctx context.Context, c *content) (*sandbox.Request, error) {
	if err := b.prepareUser(ctx); err != nil {
		return nil, err
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
	if err := b.listen(); err != nil {
		return nil, err
	}
	req := b.newRequest(c)
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
	b.seesSockets = true
	if _, err := os.Lstat(homeDir); err == nil {
		return nil, fmt.Errorf("home directory %q exists; please remove it to assure purity of builds without sandboxing", homeDir)
	}
	return req, nil
}

// prepareUser takes a build user if the options have them.
func (b *build) prepareUser(ctx context.Context) error {
	if err := b.takeUser(ctx); err != nil {
		return err
	}
	if b.user == nil {
		b.owner = ids{os.Geteuid(), os.Getegid(), 0}
		return nil
	}
	b.owner = b.user.ids
	// A process of an earlier build could change the files of this one.
	if err := b.killUser(ctx); err != nil {
		return err
	}
	return b.shareStoreDir()
}

// newRequest returns the request to run the builder without a sandbox.
func (b *build) newRequest(c *content) *sandbox.Request {
	req := &sandbox.Request{
		Program: b.drv.Builder, Args: b.arguments(), Env: b.environment(c), Dir: b.dirInSandbox(),
		HostUID: b.owner.uid, HostGID: b.owner.gid, Remount: b.remount(),
		Network: !b.pure, System: b.drv.Platform, Linux26: b.opts.Linux26, SharedMemory: b.opts.SharedMemory, Cgroup: b.cgroup,
		KeepGroups: !b.opts.RequireDropSupplementaryGroups, OptionalFilter: b.opts.OptionalFilter,
	}
	if b.user != nil {
		req.Groups = b.user.groups
	}
	return req
}

// haveSockets reports whether there may be sockets among paths. Directories of the machine may contain sockets, and
// also in a read-only one a process can connect to them. Inputs have none.
func (b *build) haveSockets(paths map[string]SandboxPath) bool {
	for target, p := range paths {
		path, err := b.store.Dir().Parse(target)
		if err == nil && b.closure[path] || p.Source == b.dir.path {
			continue
		}
		info, err := os.Stat(p.Source)
		if err == nil && (info.IsDir() || info.Mode()&fs.ModeSocket != 0) {
			return true
		}
	}
	return false
}

// heldLocks returns the locks that last until all processes of the build have ended, even if this process is killed.
// Without them, the next build of the derivation could meet the old builder, which would write to the new output, or to
// files that are being removed. The locks of outputs are taken all or none, so one of them excludes other builds. A
// build user needs no such lock: the next build that takes it kills its processes.
func (b *build) heldLocks() []*os.File {
	locks := []*os.File{b.locks.File(), b.dir.mark.file}
	if b.chroot != nil {
		locks = append(locks, b.chroot.lock)
	}
	return slices.DeleteFunc(locks, func(f *os.File) bool { return f == nil })
}

// clearScratch removes files that an earlier build has left at scratch paths in the store.
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

// prepareSandbox makes the root of the sandbox, and adds the sandbox to the request.
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
	b.shareStore(req, paths)
	b.seesSockets = b.haveSockets(paths)
	b.ownShell = sandbox.IsOwnShell(paths["/bin/sh"].Source)
	mounts, err := b.mounts(paths)
	if err != nil {
		return err
	}
	if b.inMemory() {
		req.Memory, req.Mounts, req.Files = true, mounts, b.etcFiles()
	} else if req.Mounts, err = b.sealEtc(mounts); err != nil {
		return err
	}
	req.Root = b.outside(b.root)
	req.Writable = []string{string(b.store.Dir()), "/tmp"}
	req.RootWritable = b.uidRange()
	req.UID, req.GID = b.idsInSandbox()
	req.IDs = max(b.owner.count, 1)
	return nil
}
