package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"pix/activity"
	"pix/derivation"
	"pix/internal/compression"
	"pix/store"
	"pix/storepath"
)

func newLog(a *app) *cobra.Command {
	var stdin bool
	cmd := &cobra.Command{
		Use:   "log PATH...",
		Short: "Print the logs of builds",
		Long: `Print the log of the build of each path, a derivation or an output of one. Binary caches and
stores in a directory have logs. A daemon cannot be asked for them: they are read where the daemon
of this machine writes them, in $NIX_LOG_DIR, by default /nix/var/log/nix. On a terminal what
could take it over is left out; elsewhere logs are as they were written. The exit code is 1 if
there is no log.`,
		Example:           "  pix log /nix/store/...-hello",
		ValidArgsFunction: a.completePaths,
		GroupID:           groupStore,
		RunE: func(cmd *cobra.Command, args []string) error {
			args, err := a.withStdin(cmd, args, stdin)
			if err != nil {
				return err
			}
			built, err := a.installables(args)
			if err != nil {
				return err
			}
			return a.withStore(cmd.Context(), toRead, func(ctx context.Context, s store.Store) error {
				for _, p := range built {
					if err := a.printLog(ctx, s, p); err != nil {
						return err
					}
				}
				return nil
			})
		},
	}
	addStdinFlag(cmd, &stdin)
	return cmd
}

// printLog prints the log of what was built.
func (a *app) printLog(ctx context.Context, s store.Store, built derivation.DerivedPath) error {
	drv, err := derivationOf(ctx, s, built)
	if err != nil {
		return err
	}
	log, err := a.openLog(ctx, s, drv)
	if err != nil {
		return err
	}
	defer log.Close()
	return orInterrupted(ctx, func() error {
		if isTerminal(a.stdout) {
			return copyPlain(a.stdout, log)
		}
		_, err := io.Copy(a.stdout, log)
		return err
	})
}

// openLog opens the log of a derivation: that which the store has, or for a daemon, which
// cannot be asked, that which it has written.
func (a *app) openLog(ctx context.Context, s store.Store, drv storepath.Path) (io.ReadCloser, error) {
	if r, ok := store.As[store.LogReader](s); ok {
		log, err := r.BuildLog(ctx, drv)
		if errors.Is(err, store.ErrNotFound) {
			err = fmt.Errorf("there is no log of '%s' in the store", drv)
		}
		return log, err
	}
	if err := onThisMachine(ctx, s, "the protocol has no logs of builds"); err != nil {
		return nil, err
	}
	dir := cmp.Or(a.getenv("NIX_LOG_DIR"), "/nix/var/log/nix")
	log, err := openLog(dir, drv)
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("there is no log of '%s' in %s: it was not built on this machine, or its log is elsewhere (NIX_LOG_DIR)", drv, dir)
	}
	if err != nil {
		return nil, err
	}
	return log, nil
}

// derivationOf returns the derivation by which something was built.
func derivationOf(ctx context.Context, s store.Store, built derivation.DerivedPath) (storepath.Path, error) {
	if built, ok := built.(derivation.Built); ok {
		return resolveDerivation(ctx, s, built.Drv)
	}
	path := built.(derivation.Opaque).Path
	if path.IsDerivation() {
		return path, nil
	}
	info, err := s.QueryPathInfo(ctx, path)
	if err != nil {
		return "", err
	}
	if info.Deriver == "" {
		return "", fmt.Errorf("by which derivation '%s' was built is not known, so there is no log of it", path)
	}
	return info.Deriver, nil
}

// A buildLog is the log of a build, decoded.
type buildLog struct {
	io.Reader
	io.Closer
}

// openLog opens the log of a derivation in a log directory: dir/drvs/xx/rest, where the base
// of the derivation is xxrest, or, from long ago, dir/drvs/xxrest. Nix compresses it with bzip2
// unless it is told not to. The error is [fs.ErrNotExist] if there is none.
//
// Source: LocalFSStore::getBuildLogExact in local-fs-store.cc.
func openLog(dir string, drv storepath.Path) (*buildLog, error) {
	base := drv.Base()
	for _, name := range []string{filepath.Join(base[:2], base[2:]), base} {
		for _, ext := range []string{"", ".bz2", ".zst", ".xz"} {
			f, err := os.Open(filepath.Join(dir, "drvs", name+ext))
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return nil, err
			}
			decoded, err := compression.ByExtension(ext, f)
			if err != nil {
				f.Close()
				return nil, fmt.Errorf("'%s': %w", f.Name(), err)
			}
			return &buildLog{decoded, f}, nil
		}
	}
	return nil, fs.ErrNotExist
}

// copyPlain copies lines without what could take over a terminal. A line that is very long is
// looked at in pieces.
func copyPlain(dst io.Writer, src io.Reader) error {
	lines := bufio.NewReaderSize(src, 64<<10)
	for {
		line, err := lines.ReadSlice('\n')
		if _, err := io.WriteString(dst, activity.Plain(string(line))); err != nil {
			return err
		}
		if err == io.EOF {
			return nil
		}
		if err != nil && err != bufio.ErrBufferFull {
			return err
		}
	}
}
