package pixpkgs

import (
	"context"
	"fmt"
	"io"
	"sync"

	"pix/internal/parallel"
	"pix/store"
	"pix/storepath"
)

// An item is an object to add to a store before a build: a source or a .drv file.
type item struct {
	path    storepath.Path
	object  *Object  // a source, or nil
	pkg     *Package // the package of a .drv file or of a foreign source
	foreign bool     // a source that must already be in the store
}

// itemsOf returns all items that the packages need in a store, each once and after its references.
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
	addObject = func(o *Object) { // ends, because an object is created after its references
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

// references returns the references of the item.
func (it *item) references() []storepath.Path {
	switch {
	case it.foreign:
		return nil
	case it.object != nil:
		return it.object.info.References
	}
	return it.pkg.drv.References().Slice()
}

// register adds the missing items to s.
func register(ctx context.Context, s store.Store, roots []*Package) error {
	items := itemsOf(roots)
	valid, err := protect(ctx, s, items, roots)
	if err != nil {
		return err
	}
	var missing []item
	for _, it := range items {
		switch {
		case valid[it.path]:
		case it.foreign:
			return it.pkg.normal.fail("", fmt.Errorf("its source %s is not in the store, and its contents are unknown", it.path))
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

// protect returns the valid items, and protects them from collectors for the rest of the session. A
// collector could otherwise delete a reference of an item before the item is added. A temporary root
// protects its whole closure, so only the valid packages and the valid references of missing items get
// one. If a collector has deleted one of them in the meantime, protect starts again.
func protect(ctx context.Context, s store.Store, items []item, roots []*Package) (map[storepath.Path]bool, error) {
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
		frontier := frontierOf(items, roots, valid)
		for _, path := range frontier {
			if err := rooter.AddTempRoot(ctx, path); err != nil {
				return nil, err
			}
		}
		protected, err := validSet(ctx, s, frontier)
		if err != nil || len(protected) == len(frontier) {
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

// frontierOf returns the valid items that are roots or references of a missing item.
func frontierOf(items []item, roots []*Package, valid map[storepath.Path]bool) (frontier []storepath.Path) {
	seen := map[storepath.Path]bool{}
	add := func(path storepath.Path) {
		if valid[path] && !seen[path] {
			seen[path] = true
			frontier = append(frontier, path)
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
	return frontier
}

// addItems adds items with their archives. When it returns, no source is read any more, even if the store
// has left the sequence on another goroutine, or panics. If the file system or the filter of a source
// panics, addItems panics.
func addItems(ctx context.Context, s store.Store, items []item) error {
	ctx, cancel := context.WithCancelCause(ctx)
	l := &importStream{ctx: ctx, items: items, guard: parallel.Guard{Stop: cancel}}
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

// An importStream yields items whose archives are written while the store reads them.
type importStream struct {
	ctx   context.Context
	items []item
	guard parallel.Guard

	mu      sync.Mutex
	archive *io.PipeReader // the archive that is being read, or nil
}

// imports yields the items with their archives.
func (l *importStream) imports(yield func(store.Import, error) bool) {
	for _, it := range l.items {
		var object store.Import
		var written <-chan struct{}
		err := l.guard.Call(func() (err error) {
			if it.object == nil {
				object, err = it.pkg.asImport()
				return err
			}
			object, written = l.open(it.object)
			return nil
		})
		more := yield(object, err)
		if written != nil {
			l.closeArchive() // ends the writer if the store has not read everything
			<-written
		}
		if !more || err != nil {
			return
		}
	}
}

// open returns an object with its archive, which another goroutine writes. It closes written at the end.
func (l *importStream) open(o *Object) (object store.Import, written <-chan struct{}) {
	r, w := io.Pipe()
	l.mu.Lock()
	l.archive = r
	l.mu.Unlock()
	if l.ctx.Err() != nil { // the store may have returned already
		l.closeArchive()
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		err := parallel.ErrEnded
		defer func() { w.CloseWithError(err) }() // also if the goroutine ends by runtime.Goexit
		err = l.guard.Call(func() error { return o.archive(l.ctx, w) })
	}()
	info := o.info
	return store.Import{Info: &info, NAR: r}, done
}

// closeArchive stops reading and writing the current archive.
func (l *importStream) closeArchive() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.archive != nil {
		l.archive.CloseWithError(io.ErrClosedPipe)
		l.archive = nil
	}
}

// asImport returns the .drv file with its archive.
func (p *Package) asImport() (store.Import, error) {
	return store.ImportText(p.drv.Dir, p.drv.Name+storepath.DerivationExt, p.drv.String(), p.drv.References().Slice())
}

// addTexts adds .drv files one by one to a store that can only add texts.
func addTexts(ctx context.Context, s store.Store, items []item) error {
	for _, it := range items {
		if it.object != nil {
			return fmt.Errorf("a store of type %T cannot add source %s", s, it.path)
		}
		path, err := store.AddText(ctx, s, it.path.Name(), it.pkg.drv.String(), it.references())
		if err != nil {
			return err
		}
		if path != it.path {
			return fmt.Errorf("the store added the derivation of package %q as %s instead of %s", it.pkg.Name(), path, it.path)
		}
	}
	return nil
}
