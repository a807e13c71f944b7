package builder

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"pix/store"
	"pix/storepath"
)

// sandboxPaths returns the files of this machine that the builder sees, by target: from the options, the derivation
// and the pre-build hook, and the inputs. Later ones replace earlier ones with the same target.
func (b *build) sandboxPaths(ctx context.Context) (map[string]SandboxPath, error) {
	dir := b.dirInSandbox()
	if strings.HasPrefix(string(b.store.Dir()), dir) {
		return nil, errors.New("`sandbox-build-dir` must not contain the storeDir")
	}
	paths, err := b.configuredPaths(ctx)
	if err != nil {
		return nil, err
	}
	paths[dir] = SandboxPath{Target: dir, Source: b.dir.path}
	if err := b.addImpureHostDeps(paths); err != nil {
		return nil, err
	}
	if err := b.addHookPaths(ctx, paths); err != nil {
		return nil, err
	}
	b.inputPaths(paths)
	for _, o := range b.outputs { // an output may be in the closure of a configured path, such as /bin/sh
		delete(paths, string(o.path))
	}
	b.addKVM(paths)
	if !b.pure {
		b.addNetworkFiles(paths)
	}
	return paths, nil
}

// configuredPaths returns the paths of the options. Those in the store directory bring their closures.
func (b *build) configuredPaths(ctx context.Context) (map[string]SandboxPath, error) {
	paths := map[string]SandboxPath{}
	if b.opts.Shell != "" {
		paths["/bin/sh"] = SandboxPath{Target: "/bin/sh", Source: b.opts.Shell, ReadOnly: true}
	}
	roots := map[storepath.Path]bool{}
	for _, p := range b.opts.SandboxPaths {
		if p.Source == "" {
			p.Source = p.Target
		}
		if path, rest, err := b.store.Dir().ParseInside(p.Source); err == nil {
			roots[path] = true
			p.Source, p.ReadOnly = b.store.ObjectFile(path)+rest, true
		}
		paths[p.Target] = p
	}
	for root := range roots {
		err := b.eachOfClosure(ctx, root, func(path storepath.Path) {
			paths[string(path)] = SandboxPath{Target: string(path), Source: b.store.ObjectFile(path), ReadOnly: true}
		})
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return nil, fmt.Errorf("processing the sandbox path '%s': %w", root, err)
		}
	}
	return paths, nil
}

func (b *build) eachOfClosure(ctx context.Context, root storepath.Path, visit func(storepath.Path)) error {
	for info, err := range store.Closure(ctx, b.store, root) {
		if err != nil {
			return err
		}
		visit(info.Path)
	}
	return nil
}

// addImpureHostDeps adds the files that the derivation asks for, if the options allow them. It does not resolve
// symlinks: a user could learn from the result which files exist.
func (b *build) addImpureHostDeps(paths map[string]SandboxPath) error {
	for dep := range b.options.ImpureHostDeps.All() {
		if !b.opts.allowsHostDep(filepath.Clean(dep)) {
			return fmt.Errorf("derivation '%s' requested impure path '%s', but it was not in allowed-impure-host-deps", b.req.Path, dep)
		}
		paths[dep] = SandboxPath{Target: dep, Source: dep, Optional: true}
	}
	return nil
}

func (o *Options) allowsHostDep(dep string) bool {
	for _, allowed := range o.AllowedImpureHostDeps {
		allowed = filepath.Clean(allowed)
		if dep == allowed || strings.HasPrefix(dep, strings.TrimSuffix(allowed, "/")+"/") {
			return true
		}
	}
	return false
}

// addHookPaths runs the pre-build hook, and adds the paths that it prints.
func (b *build) addHookPaths(ctx context.Context, paths map[string]SandboxPath) error {
	if b.opts.PreBuildHook == "" {
		return nil
	}
	args := []string{string(b.req.Path), b.outside(b.chroot.root)}
	output, err := b.runHook(ctx, &hook{program: b.opts.PreBuildHook, args: args})
	if err != nil {
		return err
	}
	inList := false
	for line := range strings.Lines(output) {
		line, complete := strings.CutSuffix(line, "\n")
		switch {
		case !complete:
		case inList && line == "":
			inList = false
		case inList:
			target, source, ok := strings.Cut(line, "=")
			if !ok {
				source = target
			}
			paths[target] = SandboxPath{Target: target, Source: source}
		case line == "extra-sandbox-paths" || line == "extra-chroot-dirs":
			inList = true
		default:
			return fmt.Errorf("unknown pre-build hook command '%s'", line)
		}
	}
	return nil
}

// addNetworkFiles adds the configuration of name resolution and the trusted certificates, if these files exist. It
// resolves symlinks, because their targets are not in the sandbox.
func (b *build) addNetworkFiles(paths map[string]SandboxPath) {
	add := func(target, source string) {
		source, err := filepath.EvalSymlinks(source)
		if _, ok := paths[target]; err == nil && !ok {
			paths[target] = SandboxPath{Target: target, Source: source, Optional: true, ReadOnly: true}
		}
	}
	for _, file := range []string{"/etc/resolv.conf", "/etc/services", "/etc/hosts"} {
		add(file, file)
	}
	if b.opts.CertFile != "" {
		add("/etc/ssl/certs/ca-certificates.crt", b.opts.CertFile)
	}
}

// addKVM adds the device for virtual machines if the system features of the options include it.
func (b *build) addKVM(paths map[string]SandboxPath) {
	const device = "/dev/kvm"
	if !slices.Contains(b.opts.SystemFeatures, "kvm") || paths["/dev"].Source != "" || paths[device].Source != "" {
		return
	}
	source, err := filepath.EvalSymlinks(device)
	if err != nil {
		b.warn("KVM is enabled in system-features but /dev/kvm is not available. QEMU builds may fall back to slow emulation. Consider removing 'kvm' from system-features in nix.conf if KVM is not supported on this system.")
		return
	}
	paths[device] = SandboxPath{Target: device, Source: source}
}
