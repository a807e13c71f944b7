package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strconv"

	"github.com/spf13/cobra"

	"pix/binarycache"
	"pix/cacheserver"
	"pix/localstore"
	"pix/nixconf"
	"pix/store"
	"pix/storepath"
)

// upstreamOptions are the flags of serve for upstream caches.
type upstreamOptions struct {
	uris       []string
	dir        string
	size       string // with a unit
	otherHosts bool
	add        bool // what clients fetch to the first store
}

// addFlags adds the flags to serve.
func (o *upstreamOptions) addFlags(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringArrayVar(&o.uris, "upstream", nil, "the `URI` of a cache from which to fetch what no store has")
	flags.StringVar(&o.dir, "upstream-dir", "", "the `directory` in which to keep fetched archives (default: in a temporary one, keep only archives whose parts are requested)")
	flags.StringVar(&o.size, "upstream-size", "20G", "the largest `size` of the archives in --upstream-dir, for each --upstream")
	flags.BoolVar(&o.otherHosts, "upstream-other-hosts", false, "follow redirects and URLs of upstream caches to other hosts")
	flags.BoolVar(&o.add, "upstream-add", false, "add the paths that clients fetch from upstream caches to the first store, with their references")
	freeValue(cmd, "upstream-size")
	completeFlag(cmd, "upstream", completeURIs)
	completeFlag(cmd, "upstream-dir", completeDirs)
}

// check returns an error if a flag is invalid, or if the flags do not fit together.
func (o *upstreamOptions) check() error {
	if size, err := nixconf.ParseSize(o.size); err != nil {
		return fmt.Errorf("--upstream-size: %w", err)
	} else if size < minSize {
		return errors.New("--upstream-size must be at least 16M")
	}
	switch {
	case len(o.uris) > 0:
		return nil
	case o.dir != "":
		return errors.New("--upstream-dir needs --upstream")
	case o.add:
		return errors.New("--upstream-add needs --upstream")
	}
	return nil
}

// checkTarget returns an error if fetched paths should be added to a store to which objects cannot be added.
func (o *upstreamOptions) checkTarget(first store.Store) error {
	if !o.add {
		return nil
	}
	_, adds := store.As[store.NARAdder](first)
	if local, ok := store.As[*localstore.Store](first); ok && local.ReadOnly() {
		adds = false
	}
	if !adds {
		return &usageError{errors.New("--upstream-add: paths cannot be added to the first store")}
	}
	return nil
}

// openUpstream opens an upstream cache. Each one has a directory of its own.
func (a *app) openUpstream(ctx context.Context, o *upstreamOptions, i int) (store.Store, error) {
	choice, err := a.choose(openOptions{uri: o.uris[i], access: toRead, sameOrigin: !o.otherHosts, waited: true})
	if err != nil {
		return nil, err
	}
	conf, err := a.configuration()
	if err != nil {
		return nil, err
	}
	size, err := nixconf.ParseSize(o.size)
	if err != nil {
		return nil, err
	}
	opts := new(cacheserver.UpstreamOptions)
	opts.TrustedKeys, _ = trustedKeys(conf) // opening the store warns of invalid keys
	if o.add {
		opts.Fetches = 8 // as with a directory: all clients' archives go through the temporary directory
	}
	if o.dir != "" {
		opts.Dir, opts.Size = filepath.Join(o.dir, strconv.Itoa(i+1)), int64(min(size, 1<<60))
	}
	open := func(ctx context.Context) (store.Store, error) { return a.openChosen(ctx, choice) }
	src, err := open(ctx)
	if isDown(err) && ctx.Err() == nil {
		fmt.Fprintf(a.stderr, "pix: the upstream cache is down: %s; pix tries again when a client needs it\n", errorText(err))
		return openLater(choice.options.StoreDir, open, opts)
	}
	if err != nil {
		return nil, err
	}
	s, err := cacheserver.NewUpstream(src, opts)
	if err != nil {
		return nil, errors.Join(err, src.Close())
	}
	return s, nil
}

// isDown reports whether an error says that a server does not answer now. Other errors need the operator.
func isDown(err error) bool {
	request, ok := errors.AsType[*binarycache.RequestError](err)
	return ok && (request.Status == 0 || request.Status >= http.StatusInternalServerError)
}

// openLater returns an upstream cache that is opened when a client needs it.
func openLater(dir storepath.Dir, open func(context.Context) (store.Store, error), opts *cacheserver.UpstreamOptions) (store.Store, error) {
	s, err := cacheserver.OpenUpstream(cmp.Or(dir, storepath.DefaultDir), open, opts)
	if err != nil {
		return nil, err
	}
	return s, nil
}
