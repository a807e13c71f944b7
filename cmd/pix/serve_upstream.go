package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"

	"github.com/spf13/cobra"

	"pix/cacheserver"
	"pix/nixconf"
	"pix/store"
)

// upstreamOptions are the flags of serve for upstream caches.
type upstreamOptions struct {
	uris       []string
	dir        string
	size       string // with a unit
	otherHosts bool
}

// addFlags adds the flags to serve.
func (o *upstreamOptions) addFlags(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringArrayVar(&o.uris, "upstream", nil, "the `URI` of a cache from which to fetch what no store has")
	flags.StringVar(&o.dir, "upstream-dir", "", "the `directory` in which to keep fetched archives (default: keep none)")
	flags.StringVar(&o.size, "upstream-size", "20G", "the largest `size` of the archives in --upstream-dir, for each --upstream")
	flags.BoolVar(&o.otherHosts, "upstream-other-hosts", false, "follow redirects and URLs of upstream caches to other hosts")
	freeValue(cmd, "upstream-size")
	completeFlag(cmd, "upstream", completeURIs)
	completeFlag(cmd, "upstream-dir", completeDirs)
}

// check returns an error if the flags are wrong.
func (o *upstreamOptions) check() error {
	if size, err := nixconf.ParseSize(o.size); err != nil {
		return fmt.Errorf("--upstream-size: %w", err)
	} else if size < minSize {
		return errors.New("--upstream-size must be at least 16M")
	}
	if o.dir != "" && len(o.uris) == 0 {
		return errors.New("--upstream-dir needs --upstream")
	}
	return nil
}

// openUpstream opens an upstream cache. Each one has a directory of its own.
func (a *app) openUpstream(ctx context.Context, o *upstreamOptions, i int) (store.Store, error) {
	choice, err := a.choose(openOptions{uri: o.uris[i], access: toRead, sameOrigin: !o.otherHosts})
	if err != nil {
		return nil, err
	}
	src, err := a.openChosen(ctx, choice)
	if err != nil {
		return nil, err
	}
	conf, err := a.configuration()
	if err != nil {
		return nil, errors.Join(err, src.Close())
	}
	size, err := nixconf.ParseSize(o.size)
	if err != nil {
		return nil, errors.Join(err, src.Close())
	}
	opts := &cacheserver.UpstreamOptions{Size: int64(min(size, 1<<60))}
	opts.TrustedKeys, _ = trustedKeys(conf) // opening the store has warned of invalid keys
	if o.dir != "" {
		opts.Dir = filepath.Join(o.dir, strconv.Itoa(i+1))
	}
	s, err := cacheserver.NewUpstream(src, opts)
	if err != nil {
		return nil, errors.Join(err, src.Close())
	}
	return s, nil
}
