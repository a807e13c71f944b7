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

// derivationOutputs returns the outputs of a derivation that is about to become valid, whose paths are
// known. Its object is in place, and so are its inputs, which are valid or among the others that
// become valid. It returns the errors of [store.CheckOutputs].
func (s *Store) derivationOutputs(ctx context.Context, path storepath.Path, among map[storepath.Path]*store.PathInfo) (outputs []output, err error) {
	r := drvReader{s: s}
	defer r.close()
	d, err := r.read(ctx, path)
	if err != nil {
		return nil, err
	}
	var inputs derivation.InputHashes
	if _, err := d.Kind(); err == nil { // else it cannot be hashed
		if inputs, err = s.modulo.inputsOf(ctx, &r, d, among); err != nil {
			return nil, err
		}
	}
	known, warnings, err := store.CheckOutputs(path, d, inputs)
	for _, warning := range warnings {
		say(ctx, "warning: %s", warning)
	}
	if err != nil {
		return nil, err
	}
	for name, path := range known.All() {
		outputs = append(outputs, output{name, path})
	}
	return outputs, nil
}

// insertOutputs notes the outputs of a valid derivation.
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

// outputs returns the outputs of a valid derivation that are known in the database.
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

// moduloHashes remembers the modulo hashes of derivations in the store, so that those of a
// large closure are not computed again for each derivation that is added to it. It remembers only the hash of
// a derivation whose path follows from its contents, and so do the paths of all derivations that the hash
// depends on: then the path determines the hash, whatever is in the store. Trusted clients can add
// a derivation under a wrong path; after it is deleted, the right one can be added.
type moduloHashes struct {
	mu     sync.Mutex
	hashes map[storepath.Path]derivation.ModuloHash
}

// maxModuloHashes is how many hashes are remembered.
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

// inputsOf returns the hashes of the inputs of a derivation. Those that are needed and not
// remembered are read from the store, with all that they need. They are valid, or among those
// that are about to be.
func (m *moduloHashes) inputsOf(ctx context.Context, r *drvReader, d *derivation.Derivation, among map[storepath.Path]*store.PathInfo) (derivation.InputHashes, error) {
	w := moduloWalk{hashes: m, known: make(map[storepath.Path]derivation.ModuloHash), improper: make(map[storepath.Path]bool), open: make(map[storepath.Path]bool)}
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
			if err := w.visit(ctx, r, top, among); err != nil {
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
		if w.isProper(r.s.dir, top) {
			m.put(top.path, h)
		} else {
			w.improper[top.path] = true
		}
		delete(w.open, top.path)
		w.todo = w.todo[:len(w.todo)-1]
	}
}

// A moduloWalk hashes derivations after all that they need.
type moduloWalk struct {
	hashes   *moduloHashes
	known    map[storepath.Path]derivation.ModuloHash // for this walk, whatever is forgotten meanwhile
	improper map[storepath.Path]bool                  // the hashes in known that do not follow from the path
	todo     []moduloVisit                            // the last first
	open     map[storepath.Path]bool                  // those that were read, and wait for their inputs
}

// A moduloVisit is a derivation that is to be hashed. Until it was read there is its path alone.
type moduloVisit struct {
	path storepath.Path
	d    *derivation.Derivation
	text nixhash.Hash // of the text that was read
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

// visit reads a derivation, and goes to its inputs. One that is known by now is left.
func (w *moduloWalk) visit(ctx context.Context, r *drvReader, v *moduloVisit, among map[storepath.Path]*store.PathInfo) (err error) {
	if _, known := w.lookup(v.path); known {
		w.todo = w.todo[:len(w.todo)-1]
		return nil
	}
	text, err := r.inputText(ctx, v.path, among)
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

// isProper reports whether the hash of a derivation follows from its path: whether the path follows from what
// was read, and the same holds for the inputs.
func (w *moduloWalk) isProper(dir storepath.Dir, v *moduloVisit) bool {
	for input := range v.d.InputDerivations.All() {
		if w.improper[input] {
			return false
		}
	}
	path, err := dir.TextPath(v.path.Name(), v.text, v.d.References().Slice())
	return err == nil && path == v.path
}

// expand goes to the inputs of a derivation, where its hash needs them.
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
