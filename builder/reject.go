package builder

import (
	"fmt"
	"runtime"
	"slices"
	"strings"

	"pix/derivation"
	"pix/store"
)

// reject returns a failure if this machine cannot build the derivation.
func (b *build) reject() error {
	reasons := b.rejection()
	if reasons == "" {
		return nil
	}
	return &Failure{Status: store.InputRejected, Message: fmt.Sprintf("Cannot build '%s'.%s", b.req.Path, reasons)}
}

// rejection returns why this machine cannot build the derivation, in lines of a message, or "".
func (b *build) rejection() (reasons string) {
	if system := b.opts.system(); b.drv.Platform != system && !slices.Contains(b.opts.ExtraPlatforms, b.drv.Platform) && !b.isBuiltin() {
		reasons += fmt.Sprintf("\nReason: platform mismatch\nRequired system: '%s'\nCurrent system: '%s'", b.drv.Platform, system)
	}
	required := b.requiredFeatures()
	if slices.ContainsFunc(required, func(f string) bool { return !slices.Contains(b.opts.SystemFeatures, f) }) {
		available := slices.Sorted(slices.Values(b.opts.SystemFeatures))
		reasons += fmt.Sprintf("\nReason: missing system features\nRequired features: {%s}\nAvailable features: {%s}",
			strings.Join(required, ", "), strings.Join(available, ", "))
	}
	return reasons
}

// checkShell returns a failure if the builder is /bin/sh and the sandbox has none. Its message says what to install.
// The error of execve would not.
func (b *build) checkShell(paths map[string]SandboxPath) error {
	const shell = "/bin/sh"
	if b.drv.Builder != shell || paths[shell].Source != "" || paths["/bin"].Source != "" {
		return nil
	}
	return &Failure{Status: store.MiscFailure, Message: fmt.Sprintf("Cannot build '%s'.\nReason: its builder is %[2]s, and this machine has no shell that runs in the sandbox.\n"+
		"Install a statically linked one (on Debian and Ubuntu the package busybox-static, elsewhere busybox),\nput pix-sh beside this program (in a clone of pix: CGO_ENABLED=0 go install ./cmd/pix-sh),\nor name one in nix.conf: sandbox-paths = %[2]s=/path/to/busybox", b.req.Path, shell)}
}

// requiredFeatures returns the features that the machine must have, sorted.
func (b *build) requiredFeatures() []string {
	features := b.options.RequiredSystemFeatures.Slice()
	if b.kind == derivation.Floating || b.kind == derivation.Deferred || b.kind == derivation.Impure {
		features = append(features, "ca-derivations")
	}
	slices.Sort(features)
	return slices.Compact(features)
}

// uidRange reports whether the builder gets 65,536 user ids.
func (b *build) uidRange() bool { return b.options.RequiredSystemFeatures.Has("uid-range") }

// rejectNUL returns a failure if an argument or a variable contains a NUL, at which the kernel would cut it off. Nix
// before 2.36 lets that happen.
func (b *build) rejectNUL(c *content) error {
	reject := func(what string) error {
		return &Failure{Status: store.InputRejected, Message: fmt.Sprintf("Cannot build '%s'.\nReason: %s contains a NUL byte.", b.req.Path, what)}
	}
	if strings.ContainsRune(b.drv.Builder, 0) {
		return reject("the builder")
	}
	for i, arg := range b.drv.Args {
		if strings.ContainsRune(arg, 0) {
			return reject(fmt.Sprintf("argument %d", i+1))
		}
	}
	for _, name := range sortedKeys(c.vars) {
		if strings.ContainsRune(name, 0) {
			return reject(fmt.Sprintf("the name of the environment variable %q", name))
		}
		if strings.ContainsRune(c.vars[name].value, 0) {
			return reject(fmt.Sprintf("the environment variable '%s'", name))
		}
	}
	return nil
}

// system returns the system of this machine.
func (o *Options) system() string {
	if o.System != "" {
		return o.System
	}
	return thisSystem
}

var thisSystem = map[string]string{"amd64": "x86_64", "arm64": "aarch64", "386": "i686", "riscv64": "riscv64"}[runtime.GOARCH] + "-" + runtime.GOOS
