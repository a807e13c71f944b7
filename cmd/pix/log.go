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
		Short: "Print build logs",
		Long: `Print the build log of each path, which is a derivation or an output of one. Binary caches and
stores in a directory have logs. The protocol of daemons has none, so the logs of the daemon of this
machine are read from $NIX_LOG_DIR, by default /nix/var/log/nix. On a terminal control characters
are left out; elsewhere logs are unchanged. The exit code is 1 if there is no log.`,
		Example:           "  pix log /nix/store/...-hello",
		ValidArgsFunction: a.completePaths,
		GroupID:           groupStore,
		RunE: func(cmd *cobra.Command, args []string) error {
			args, err := a.withStdin(cmd, args, stdin)
			if err != nil {
				return err
			}
			names, err := a.names(args)
			if err != nil {
				return err
			}
			return a.withStore(cmd.Context(), toRead, func(ctx context.Context, s store.Store) error {
				built, err := derivedPathsOf(ctx, s, names)
				if err != nil {
					return err
				}
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

// printLog prints the build log of an installable.
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

// openLog opens the build log of a derivation, from the store or, for a daemon, from the log directory of this
// machine.
func (a *app) openLog(ctx context.Context, s store.Store, drv storepath.Path) (io.ReadCloser, error) {
	if r, ok := store.As[store.LogReader](s); ok {
		log, err := r.BuildLog(ctx, drv)
		if errors.Is(err, store.ErrNotFound) {
			err = fmt.Errorf("there is no log of '%s' in the store", drv)
		}
		return log, err
	}
	if err := onThisMachine(ctx, s, "the protocol has no build logs"); err != nil {
		return nil, err
	}
	dir := cmp.Or(a.getenv("NIX_LOG_DIR"), "/nix/var/log/nix")
	log, err := openLogFile(dir, drv)
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("there is no log of '%s' in %s: it was not built on this machine, or its log is elsewhere (NIX_LOG_DIR)", drv, dir)
	}
	if err != nil {
		return nil, err
	}
	return log, nil
}

// derivationOf returns the derivation of an installable: of an output its deriver.
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
		return "", fmt.Errorf("'%s' has no known deriver, so there is no build log", path)
	}
	return info.Deriver, nil
}

// A buildLog is an open build log, decompressed.
type buildLog struct {
	io.Reader
	io.Closer
}

// openLogFile opens the log of a derivation in a log directory: dir/drvs/xx/rest, where xxrest is the base name of
// the derivation, or dir/drvs/xxrest, the name in very old versions. Nix compresses logs with bzip2 by default. The
// error is [fs.ErrNotExist] if there is no log.
//
// Source: LocalFSStore::getBuildLogExact in local-fs-store.cc.
func openLogFile(dir string, drv storepath.Path) (*buildLog, error) {
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

// copyPlain copies lines without control sequences. It handles a very long line in pieces.
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
