package pixpkgs

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"sync"

	"pix/internal/parallel"
	"pix/nixhash"
	"pix/store"
	"pix/storepath"
)

// An item is something that is added to a store before a build: a source or a .drv file.
type item struct {
	path    storepath.Path
	object  *Object  // a source, or
	pkg     *Package // the .drv file of a package
	foreign bool     // a source that must be there already, of pkg
}

// itemsOf returns all that the packages need in a store, each once and after what it
// refers to.
func itemsOf(roots []*Package) []item {
	var items []item
	seen := map[storepath.Path]bool{}
	add := func(it item) {
		if !seen[it.path] {
			seen[it.path] = true
			items = append(items, it)
		}
	}
	var addObject func(o *Object)
	addObject = func(o *Object) { // an object is made after those that it refers to, so this ends
		for _, r := range o.references {
			addObject(r)
		}
		add(item{path: o.info.Path, object: o})
	}
	for pkg := range closureOf(roots) {
		for _, o := range pkg.objects {
			addObject(o)
		}
		for _, path := range pkg.sources {
			add(item{path: path, pkg: pkg, foreign: true})
		}
		add(item{path: pkg.path, pkg: pkg})
	}
	return items
}

// references returns what the item refers to.
func (it *item) references() []storepath.Path {
	switch {
	case it.foreign:
		return nil
	case it.object != nil:
		return it.object.info.References
	}
	return it.pkg.drv.References().Slice()
}

// register adds to s what is missing of the items.
func register(ctx context.Context, s store.Store, roots []*Package) error {
	items := itemsOf(roots)
	valid, err := hold(ctx, s, items, roots)
	if err != nil {
		return err
	}
	var missing []item
	for _, it := range items {
		switch {
		case valid[it.path]:
		case it.foreign:
			return it.pkg.normal.fail("", fmt.Errorf("its source %s is not in the store, and nothing is known of its contents", it.path))
		default:
			missing = append(missing, it)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	if _, ok := store.As[store.NARAdder](s); !ok {
		return addTexts(ctx, s, missing)
	}
	return addItems(ctx, s, missing)
}

// hold returns which items are valid, and keeps them so as long as the session lasts: if
// a collector runs, what is missing cannot be added on top of what has just vanished. A
// root protects all that it refers to, so only those are made roots that nothing else
// refers to, or only what is missing.
func hold(ctx context.Context, s store.Store, items []item, roots []*Package) (map[storepath.Path]bool, error) {
	paths := make([]storepath.Path, len(items))
	for i := range items {
		paths[i] = items[i].path
	}
	for {
		valid, err := validSet(ctx, s, paths)
		rooter, ok := store.As[store.TempRooter](s)
		if err != nil || !ok {
			return valid, err
		}
		border := borderOf(items, roots, valid)
		for _, path := range border {
			if err := rooter.AddTempRoot(ctx, path); err != nil {
				return nil, err
			}
		}
		held, err := validSet(ctx, s, border)
		if err != nil || len(held) == len(border) {
			return valid, err
		}
	}
}

func validSet(ctx context.Context, s store.Store, paths []storepath.Path) (map[storepath.Path]bool, error) {
	if len(paths) == 0 {
		return nil, nil
	}
	list, err := s.QueryValidPaths(ctx, paths, false)
	set := make(map[storepath.Path]bool, len(list))
	for _, path := range list {
		set[path] = true
	}
	return set, err
}

// borderOf returns the valid items that are roots or that something missing refers to.
func borderOf(items []item, roots []*Package, valid map[storepath.Path]bool) (border []storepath.Path) {
	seen := map[storepath.Path]bool{}
	add := func(path storepath.Path) {
		if valid[path] && !seen[path] {
			seen[path] = true
			border = append(border, path)
		}
	}
	for _, root := range roots {
		add(root.path)
	}
	for i := range items {
		if !valid[items[i].path] {
			for _, path := range items[i].references() {
				add(path)
			}
		}
	}
	return border
}

// addItems adds items, each with its archive. When it returns, no source is read any more, whatever the
// store has done with the sequence: it may leave it on another goroutine, or panic. A panic of a
// source's file system or filter is one of addItems.
func addItems(ctx context.Context, s store.Store, items []item) error {
	ctx, cancel := context.WithCancelCause(ctx)
	l := &lender{ctx: ctx, items: items, guard: parallel.Guard{Stop: cancel}}
	end := func() {
		cancel(nil)
		l.closeArchive()
		l.guard.End()
	}
	defer end() // also if the store panics
	err := store.AddMultiple(ctx, s, len(items), l.imports, nil)
	end()
	l.guard.Repanic()
	return err
}

// A lender lets a store read archives that are written meanwhile.
type lender struct {
	ctx   context.Context
	items []item
	guard parallel.Guard

	mu      sync.Mutex
	archive *io.PipeReader // of a source that is being read; nil if there is none
}

// imports yields the items with their archives.
func (l *lender) imports(yield func(store.Import, error) bool) {
	for _, it := range l.items {
		var object store.Import
		var written <-chan struct{}
		err := l.guard.Call(func() (err error) {
			if it.object == nil {
				object, err = it.pkg.asImport()
				return err
			}
			object, written = l.lend(it.object)
			return nil
		})
		goOn := yield(object, err)
		if written != nil {
			l.closeArchive() // so that the writer ends, if the reader has not read all
			<-written
		}
		if !goOn || err != nil {
			return
		}
	}
}

// lend returns an object with its archive, which is written while it is read, until written is closed.
func (l *lender) lend(o *Object) (object store.Import, written <-chan struct{}) {
	r, w := io.Pipe()
	l.mu.Lock()
	l.archive = r
	l.mu.Unlock()
	if l.ctx.Err() != nil { // perhaps since the store has returned
		l.closeArchive()
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		err := parallel.ErrEnded
		defer func() { w.CloseWithError(err) }() // also if the goroutine is ended
		err = l.guard.Call(func() error { return o.archive(l.ctx, w) })
	}()
	info := o.info
	return store.Import{Info: &info, NAR: r}, done
}

// closeArchive ends reading, and so writing, if they go on.
func (l *lender) closeArchive() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.archive != nil {
		l.archive.CloseWithError(io.ErrClosedPipe)
		l.archive = nil
	}
}

// asImport returns the .drv file with its archive.
func (p *Package) asImport() (store.Import, error) {
	text := p.drv.String()
	archive, err := textArchive(text)
	if err != nil {
		return store.Import{}, err
	}
	ca, err := storepath.NewContentAddress(storepath.Text, nixhash.Sum(nixhash.SHA256, []byte(text)))
	if err != nil {
		return store.Import{}, err
	}
	info := &store.PathInfo{
		Path: p.path, References: p.drv.References().Slice(), CA: ca,
		NARHash: nixhash.Sum(nixhash.SHA256, archive), NARSize: uint64(len(archive)),
	}
	return store.Import{Info: info, NAR: bytes.NewReader(archive)}, nil
}

// addTexts adds .drv files one by one, to a store that takes nothing but texts.
func addTexts(ctx context.Context, s store.Store, items []item) error {
	for _, it := range items {
		if it.object != nil {
			return fmt.Errorf("a store of type %T does not take source %s", s, it.path)
		}
		path, err := store.AddText(ctx, s, it.path.Name(), it.pkg.drv.String(), it.references())
		if err != nil {
			return err
		}
		if path != it.path {
			return fmt.Errorf("the store has added the derivation of package %q as %s instead of %s", it.pkg.Name(), path, it.path)
		}
	}
	return nil
}
