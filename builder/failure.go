package builder

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"pix/builder/sandbox"
	"pix/derivation"
	"pix/store"
	"pix/storepath"
)

// exitFailure returns the failure of a builder that did not exit with 0.
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

// logFailure returns the failure of a build whose log cannot be written. The log may be the only record of what a builder did, so the
// build does not continue without it. Another attempt may succeed.
func (b *build) logFailure(err error) *Failure {
	return &Failure{Status: store.TransientFailure, Message: fmt.Sprintf("Cannot build '%s'.\nReason: its log cannot be written: %v%s"+
		"\nHint: make room or give permission there, or set 'keep-build-log' to false", b.req.Path, err, b.knownOutputs())}
}

// knownOutputs returns the lines of a message with the output paths that are known before the build.
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

// minFree is the number of free bytes below which a message mentions the disk as a possible cause.
const minFree = 8 << 20

// isDiskFull reports whether the builder may have failed because a disk is full.
func (b *build) isDiskFull() bool {
	for _, file := range []string{b.ownStoreDir(), b.dir.path} {
		var st unix.Statfs_t
		if unix.Statfs(file, &st) == nil && uint64(st.Bavail)*uint64(st.Bsize) < minFree {
			return true
		}
	}
	return false
}

// logCommand returns the command that shows a log.
func (o *Options) logCommand() string { return cmp.Or(o.LogCommand, "nix log") }
