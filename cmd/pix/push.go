package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"pix/internal/flock"
	"pix/internal/redact"
	"pix/nixbase32"
	"pix/nixconf"
	"pix/store"
	"pix/storepath"
)

// pushOptions are the flags of push.
type pushOptions struct {
	watch, all bool
	logs       bool
	interval   time.Duration
	state      string
}

func newPush(a *app) *cobra.Command {
	o := pushOptions{interval: 5 * time.Second}
	cmd := &cobra.Command{
		Use:   "push CACHE",
		Short: "Copy new paths of the store to a cache",
		Long: `Copy every path that has become valid since the last push, with its closure, to the store at a
URI, usually a binary cache. Paths that the cache already has are skipped. Prints the paths that
were copied. With --watch, continue until interrupted, and copy each path soon after it has become
valid. Realisations of content-addressed outputs are copied, too, and with --logs build logs.

A state file records which paths were pushed, so a push also finds paths that became valid while
none was running. The first push only records the paths that the store has then. With --all, a
push copies every path that the cache lacks, also the recorded ones. Paths that cannot be copied
are tried again by the next push, and with --watch after a pause. To copy certain paths, use
'pix copy --to'.`,
		Example: "  pix push --watch 'https://cache.example?secret-key=key'\n" +
			"  pix push --all --logs 's3://bucket?region=eu-west-1'",
		GroupID:           groupStore,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: completeURIs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.interval <= 0 {
				return wrongUse(cmd, errors.New("--interval must be positive"))
			}
			return a.push(cmd.Context(), args[0], &o)
		},
	}
	flags := cmd.Flags()
	flags.BoolVarP(&o.watch, "watch", "w", false, "continue until interrupted")
	flags.BoolVar(&o.all, "all", false, "copy all paths that the cache lacks, also the ones from before the first push")
	flags.BoolVar(&o.logs, "logs", false, "copy the build logs of the copied paths, too")
	flags.DurationVar(&o.interval, "interval", o.interval, "the `duration` between two listings of the store with --watch")
	freeValue(cmd, "interval")
	flags.StringVar(&o.state, "state", "", "the state `file` (default in $XDG_STATE_HOME/pix/push)")
	return cmd
}

// push copies new paths of the store to a cache.
func (a *app) push(ctx context.Context, to string, o *pushOptions) (err error) {
	ctx = a.follow(ctx)
	choice, err := a.choose(openOptions{access: toRead})
	if err != nil {
		return err
	}
	src, err := a.openChosen(ctx, choice)
	if err != nil {
		return err
	}
	defer src.Close()
	cache := cacheName(to)
	name, err := a.pushStateFile(o.state, choice.uri, cache)
	if err != nil {
		return err
	}
	state, err := openPushState(name, src.Dir(), "from "+redact.URL(choice.uri)+" to "+cache)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, state.close()) }()
	p := &pusher{
		src: src, state: state, all: o.all, first: state.isNew || o.all,
		open: func(ctx context.Context) (store.Store, error) {
			return a.openWith(ctx, openOptions{uri: to, access: toCreate})
		},
		print: func(paths []storepath.Path) error { return a.printPaths(paths, false) },
		warn:  a.warn,
		note:  a.note,
	}
	if o.logs {
		if p.log, err = a.logsToPush(ctx, src); err != nil {
			return err
		}
	}
	dst, err := p.open(ctx) // a wrong URI is an error even if there is nothing to copy
	switch {
	case err == nil:
		dst.Close()
	case !o.watch || !isDown(err):
		return err
	}
	if o.watch {
		return p.watch(ctx, o.interval)
	}
	return p.step(ctx)
}

// note prints a line on standard error, unless --progress is none.
func (a *app) note(text string) {
	if mode, err := a.progressMode(); err == nil && mode != progressNone {
		fmt.Fprintf(a.stderr, "pix: note: %s\n", text)
	}
}

// cacheName returns the URI of a cache without parameters, except the one that names the server of a bucket.
func cacheName(uri string) string {
	name, query, _ := strings.Cut(uri, "?")
	name = redact.URL(name)
	if params, err := nixconf.ParseParams(query); err == nil && params["endpoint"] != "" {
		name += " at " + redact.URL(params["endpoint"])
	}
	return name
}

// pushStateFile returns the name of the state file: one for each store and cache, unless the user names one.
func (a *app) pushStateFile(name, from, to string) (string, error) {
	if name != "" {
		return name, nil
	}
	dir := a.stateHome()
	if dir == "" {
		return "", &usageError{errors.New("no directory for the state file: set HOME or XDG_STATE_HOME, or give --state FILE")}
	}
	key := sha256.Sum256([]byte(from + "\x00" + to))
	dir = filepath.Join(dir, "pix", "push")
	return filepath.Join(dir, nixbase32.EncodeToString(key[:20])), os.MkdirAll(dir, 0o700)
}

// A pusher copies new paths of a store to a cache.
type pusher struct {
	src   store.Store
	state *pushState
	all   bool                                       // the next step copies recorded paths, too
	first bool                                       // the next step is announced
	open  func(context.Context) (store.Store, error) // opens the cache
	print func([]storepath.Path) error
	warn  func(string)
	note  func(string)
	log   openLog // nil without --logs

	failures *pushFailures // of single paths; nil without --watch

	refused map[string]bool // the realisations that the cache has refused, by their lines in the state file
}

// maxPushPause is the longest pause after a failure.
const maxPushPause = time.Minute

// watch copies new paths until the context ends. A failure is reported once, and tried again after a pause.
func (p *pusher) watch(ctx context.Context, interval time.Duration) error {
	p.failures = newPushFailures(interval, p.warn)
	defer p.failures.reportRest()
	pause, last := interval, ""
	for {
		start := time.Now()
		err := p.step(ctx)
		p.failures.report()
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err == nil {
			pause, last = interval, ""
		} else {
			if text := errorText(err); text != last {
				last = text
				p.warn(text + "; trying again")
			}
			pause = max(interval, min(2*pause, maxPushPause))
		}
		const share = 20 // listing the paths of a large store takes at most this part of the time
		if err := flock.Sleep(ctx, max(pause, share*p.state.listing(start))); err != nil {
			return err
		}
	}
}

// maxPushBatch is the number of new paths that are copied at once, and then recorded.
const maxPushBatch = 500

// step copies the paths that are new now.
func (p *pusher) step(ctx context.Context) error {
	valid, err := store.AllValidPaths(ctx, p.src)
	if err != nil {
		return err
	}
	realised, err := p.realisations(ctx)
	if err != nil {
		return err
	}
	p.state.listed = time.Now()
	if p.state.isNew && !p.all {
		if err := p.state.replace(valid, realised.lines()); err != nil {
			return err
		}
		return p.announce(ctx, valid)
	}
	if p.all {
		p.state.forget()
		p.state.isNew = true // update replaces the file, so that paths that cannot be copied now are tried again
	}
	fresh, err := p.state.update(valid, realised.lines())
	p.all = p.all && err != nil
	fresh = p.failures.due(fresh, p.state.pushed)
	if err != nil || len(fresh) == 0 && !p.hasNew(realised) {
		return err
	}
	// The cache is opened for each step, so that the narinfos that it caches are not older.
	dst, err := p.open(ctx)
	if err != nil {
		return err
	}
	defer dst.Close()
	if p.first {
		if err := p.announceCopy(ctx, dst, fresh); err != nil {
			return err
		}
	}
	var errs []error
	untried, failed := p.failures.split(fresh)
	for _, paths := range [][]storepath.Path{untried, failed} {
		for some := range slices.Chunk(paths, maxPushBatch) {
			if err := p.copy(ctx, dst, some); err != nil {
				errs = append(errs, err)
			}
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
		}
	}
	errs = append(errs, p.pushRealisations(ctx, dst, realised))
	return errors.Join(errs...)
}

// announce reports what the first push has recorded. The cache may not answer: the paths are recorded before it is asked, so
// that no path is missed that becomes valid meanwhile.
func (p *pusher) announce(ctx context.Context, recorded []storepath.Path) error {
	p.first = false
	dst, err := p.open(ctx)
	if err != nil {
		return err
	}
	defer dst.Close()
	has, err := dst.QueryValidPaths(ctx, recorded, false)
	if err != nil {
		return err
	}
	text := "this first push copies nothing: it records the " + counted(len(recorded), "path") + " of the store, and later pushes copy new ones"
	if missing := len(recorded) - len(has); missing > 0 {
		text += fmt.Sprintf("; the cache lacks %d of them, which 'pix push --all' copies", missing)
	}
	p.note(text)
	return nil
}

// announceCopy reports how many paths a push with --all copies.
func (p *pusher) announceCopy(ctx context.Context, dst store.Store, paths []storepath.Path) error {
	has, err := dst.QueryValidPaths(ctx, paths, false)
	if err != nil {
		return err
	}
	p.first = false
	p.note(fmt.Sprintf("the store has %s, and the cache lacks %d of them", counted(len(paths), "path"), len(paths)-len(has)))
	return nil
}

// copy copies some paths with their closures, and records the ones that the cache has afterwards.
func (p *pusher) copy(ctx context.Context, dst store.Store, paths []storepath.Path) error {
	deleted, err := p.copyAll(ctx, dst, paths)
	if len(deleted) > 0 { // if they become valid again, they are new
		paths = slices.DeleteFunc(slices.Clone(paths), func(path storepath.Path) bool { return slices.Contains(deleted, path) })
	}
	if err != nil {
		if ctx.Err() != nil {
			return err
		}
		valid, queryErr := dst.QueryValidPaths(ctx, paths, false)
		if queryErr != nil {
			return err
		}
		paths, err = valid, p.failures.take(err)
	}
	p.failures.forget(paths)
	refused, failed := p.pushExtras(ctx, dst, paths)
	if failed != nil {
		return errors.Join(err, failed)
	}
	return errors.Join(err, refused, p.state.add(paths, nil))
}

// copyAll copies paths. If a path was deleted, or refers to a missing one, the others are copied one by one. It returns the paths that
// were deleted.
func (p *pusher) copyAll(ctx context.Context, dst store.Store, paths []storepath.Path) (deleted []storepath.Path, err error) {
	copied, err := store.Copy(ctx, dst, p.src, paths, nil)
	if len(copied) > 0 {
		names := make([]storepath.Path, len(copied))
		for i, info := range copied {
			names[i] = info.Path
		}
		p.failures.forget(names)
		err = errors.Join(err, p.print(names))
	}
	if !errors.Is(err, store.ErrNotFound) || ctx.Err() != nil {
		return nil, err
	}
	if len(paths) == 1 {
		if valid, queryErr := p.src.IsValidPath(ctx, paths[0]); queryErr == nil && !valid {
			return paths, nil
		}
		return nil, err
	}
	var errs []error
	for _, path := range paths {
		gone, err := p.copyAll(ctx, dst, []storepath.Path{path})
		if err != nil {
			errs = append(errs, &pushPathError{path, err})
		}
		deleted = append(deleted, gone...)
	}
	return deleted, errors.Join(errs...)
}
