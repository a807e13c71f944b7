package localstore

import (
	"context"
	"fmt"
	"sync"

	"zombiezen.com/go/sqlite"

	"pix/derivation"
	"pix/nixhash"
	"pix/store"
	"pix/storepath"
)

// An output is a row of the table DerivationOutputs.
type output struct {
	name string
	path storepath.Path
}

// derivationOutputs returns the outputs with known paths of a derivation that is about to be registered. Its object is
// in place, and so are the objects of its inputs, which are valid or registered together with it. It returns the errors
// of [store.CheckOutputs].
func (s *Store) derivationOutputs(ctx context.Context, path storepath.Path, pending map[storepath.Path]*store.PathInfo, texts map[storepath.Path]string) (outputs []output, err error) {
	r := drvReader{s: s, texts: texts}
	defer r.close()
	d, err := r.read(ctx, path)
	if err != nil {
		return nil, err
	}
	var inputs derivation.InputHashes
	if _, err := d.Kind(); err == nil { // otherwise it cannot be hashed
		if inputs, err = s.modulo.inputsOf(ctx, &r, d, pending); err != nil {
			return nil, err
		}
	}
	known, warnings, err := store.CheckOutputs(path, d, inputs)
	for _, warning := range warnings {
		logf(ctx, "warning: %s", warning)
	}
	if err != nil {
		return nil, err
	}
	if _, ok := texts[path]; ok {
		s.modulo.putParsed(path, d)
	}
	for name, path := range known.All() {
		outputs = append(outputs, output{name, path})
	}
	return outputs, nil
}

// insertOutputs writes the outputs of a valid derivation to the database.
func (c *conn) insertOutputs(drv int64, outputs []output) error {
	for _, o := range outputs {
		if err := c.exec("insert or ignore into DerivationOutputs (drv, id, path) values (?, ?, ?)", drv, o.name, string(o.path)); err != nil {
			return err
		}
	}
	return nil
}

// QueryValidDerivers returns the valid derivations that have path as an output, sorted.
func (s *Store) QueryValidDerivers(ctx context.Context, path storepath.Path) ([]storepath.Path, error) {
	return s.queryPaths(ctx, "select v.path from DerivationOutputs d join ValidPaths v on d.drv = v.id where d.path = ?", string(path))
}

// outputs returns the outputs of a valid derivation in the database. It lacks those without a known path.
func (c *conn) outputs(dir storepath.Dir, drv storepath.Path) (map[string]storepath.Path, error) {
	id, valid, err := c.pathID(drv)
	if err != nil {
		return nil, err
	}
	if !valid {
		return nil, notFound(drv)
	}
	outputs := make(map[string]storepath.Path)
	err = c.query("select id, path from DerivationOutputs where drv = ?", func(row *sqlite.Stmt) (err error) {
		outputs[row.ColumnText(0)], err = dir.Parse(row.ColumnText(1))
		return err
	}, id)
	return outputs, err
}

// moduloHashes is a cache of the modulo hashes of derivations. Without it, each derivation that is added to a large
// closure would need the hashes of the whole closure again.
//
// It contains a hash only if the path determines it: if the path of the derivation, and the paths of all derivations
// that the hash depends on, follow from their contents. Trusted clients can add a derivation under a wrong path. After
// that is deleted, another derivation can be added under this path.
type moduloHashes struct {
	mu     sync.Mutex
	hashes map[storepath.Path]derivation.ModuloHash
}

// maxModuloHashes is the size of the cache.
const maxModuloHashes = 1 << 17

func (m *moduloHashes) get(path storepath.Path) (derivation.ModuloHash, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	h, ok := m.hashes[path]
	return h, ok
}

func (m *moduloHashes) put(path storepath.Path, h derivation.ModuloHash) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.hashes == nil || len(m.hashes) >= maxModuloHashes {
		m.hashes = make(map[storepath.Path]derivation.ModuloHash)
	}
	m.hashes[path] = h
}

// putParsed adds the hash of a derivation whose path follows from its contents, unless the hash of an input is not in the
// cache. Otherwise the text would be read and parsed again for the first derivation that depends on it.
func (m *moduloHashes) putParsed(path storepath.Path, d *derivation.Derivation) {
	if h, err := d.HashModulo(derivation.AsInput, m.get, nil); err == nil {
		m.put(path, h)
	}
}

// inputsOf returns the hashes of the inputs of a derivation. It reads the derivations that are not in the cache, and
// their inputs, from the store. Each is valid or among the pending ones, which are about to be registered.
func (m *moduloHashes) inputsOf(ctx context.Context, r *drvReader, d *derivation.Derivation, pending map[storepath.Path]*store.PathInfo) (derivation.InputHashes, error) {
	w := moduloWalk{hashes: m, known: make(map[storepath.Path]derivation.ModuloHash), unfixed: make(map[storepath.Path]bool), open: make(map[storepath.Path]bool)}
	w.todo = []moduloVisit{{d: d}}
	if err := w.expand(d); err != nil {
		return nil, err
	}
	for {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		top := &w.todo[len(w.todo)-1]
		if top.d == nil {
			if err := w.visit(ctx, r, top, pending); err != nil {
				return nil, err
			}
			continue
		}
		h, err := top.d.HashModulo(derivation.AsInput, w.lookup, nil)
		if err != nil {
			return nil, err
		}
		if len(w.todo) == 1 {
			return w.lookup, nil
		}
		w.known[top.path] = h
		if w.isFixed(r.s.dir, top) {
			m.put(top.path, h)
		} else {
			w.unfixed[top.path] = true
		}
		delete(w.open, top.path)
		w.todo = w.todo[:len(w.todo)-1]
	}
}

// A moduloWalk hashes derivations, each after its inputs.
type moduloWalk struct {
	hashes  *moduloHashes
	known   map[storepath.Path]derivation.ModuloHash // by this walk; the cache may drop them meanwhile
	unfixed map[storepath.Path]bool                  // whose path does not determine the hash
	todo    []moduloVisit                            // a stack
	open    map[storepath.Path]bool                  // derivations that were read and are not hashed yet
}

// A moduloVisit is a derivation on the stack of a walk. d and text are set when it has been read.
type moduloVisit struct {
	path storepath.Path
	d    *derivation.Derivation
	text nixhash.Hash // the hash of the text
}

func (w *moduloWalk) lookup(path storepath.Path) (derivation.ModuloHash, bool) {
	h, ok := w.known[path]
	if !ok {
		if h, ok = w.hashes.get(path); ok {
			w.known[path] = h
		}
	}
	return h, ok
}

// visit reads a derivation and pushes its inputs. If its hash is known meanwhile, visit removes it from the stack.
func (w *moduloWalk) visit(ctx context.Context, r *drvReader, v *moduloVisit, pending map[storepath.Path]*store.PathInfo) (err error) {
	if _, known := w.lookup(v.path); known {
		w.todo = w.todo[:len(w.todo)-1]
		return nil
	}
	text, err := r.inputText(ctx, v.path, pending)
	if err != nil {
		return err
	}
	if v.d, err = store.ParseDerivation(v.path, text); err != nil {
		return err
	}
	v.text = nixhash.Sum(nixhash.SHA256, []byte(text))
	w.open[v.path] = true
	return w.expand(v.d)
}

// isFixed reports whether the path of a derivation determines its hash: if the path follows from the text, and the same
// holds for the inputs.
func (w *moduloWalk) isFixed(dir storepath.Dir, v *moduloVisit) bool {
	for input := range v.d.InputDerivations.All() {
		if w.unfixed[input] {
			return false
		}
	}
	path, err := dir.TextPath(v.path.Name(), v.text, v.d.References().Slice())
	return err == nil && path == v.path
}

// expand pushes the inputs of a derivation whose hashes are needed and not known.
func (w *moduloWalk) expand(d *derivation.Derivation) error {
	if kind, err := d.Kind(); err != nil || kind == derivation.Fixed {
		return err
	}
	for input := range d.InputDerivations.All() {
		if w.open[input] {
			return fmt.Errorf("derivation '%s' depends on itself", input)
		}
		if _, known := w.lookup(input); !known {
			w.todo = append(w.todo, moduloVisit{path: input})
		}
	}
	return nil
}
