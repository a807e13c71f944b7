package localstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"

	"zombiezen.com/go/sqlite"

	"pix/derivation"
	"pix/storepath"
)

// maxDerivation is how long a .drv file may be, in bytes. The longest that were ever seen have
// a few megabytes.
const maxDerivation = 1 << 30

// An output is a row of the table DerivationOutputs.
type output struct {
	name string
	path storepath.Path
}

// derivationOutputs returns the outputs of a derivation that is to be valid, whose paths are
// known. Its object is in place, and so are its inputs. An output whose path is not the one that
// follows from the derivation is an error: whoever could register it could make anything the
// output of anything.
func (s *Store) derivationOutputs(ctx context.Context, path storepath.Path) (outputs []output, err error) {
	d, err := s.readDerivation(path)
	if err != nil {
		return nil, err
	}
	inputs, err := s.modulo.inputsOf(ctx, s, d)
	if err == nil {
		err = d.CheckOutputPaths(inputs, nil)
	}
	if err != nil {
		return nil, fmt.Errorf("derivation '%s' has incorrect output: %w", path, err)
	}
	for name, o := range d.Outputs.All() {
		if o.Path() != "" {
			outputs = append(outputs, output{name, o.Path()})
		}
	}
	return outputs, nil
}

// readDerivation reads a derivation, which need not be valid.
func (s *Store) readDerivation(path storepath.Path) (*derivation.Derivation, error) {
	root, err := os.OpenRoot(s.storeDir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	f, err := openFile(root, path.Base())
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var text strings.Builder
	if info, err := f.Stat(); err == nil && info.Size() < maxDerivation {
		text.Grow(int(info.Size()))
	}
	if n, err := io.Copy(&text, io.LimitReader(f, maxDerivation)); err != nil || n == maxDerivation {
		return nil, errors.Join(err, fmt.Errorf("derivation '%s' is too long", path))
	}
	d, err := derivation.ParseAt(path, text.String())
	if err != nil {
		return nil, fmt.Errorf("error parsing derivation '%s': %w", path, err)
	}
	return d, nil
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

// QueryDerivationOutputMap returns the outputs of a valid derivation. Those whose paths are
// known neither from its text nor from a realisation have "". The error is a
// [*store.NotFoundError] if it is not valid.
func (s *Store) QueryDerivationOutputMap(ctx context.Context, drv storepath.Path) (outputs map[string]storepath.Path, err error) {
	if !drv.IsDerivation() {
		return nil, fmt.Errorf("path '%s' is not a store derivation", drv)
	}
	var realised bool
	err = s.read(ctx, func(c *conn) error {
		if outputs, err = c.outputs(s.dir, drv); err == nil {
			realised, err = c.hasRealisations()
		}
		return err
	})
	if err != nil || len(outputs) > 0 && !realised {
		return outputs, err
	}
	// The database has only the outputs whose paths are known.
	d, err := s.readDerivation(drv)
	if err != nil {
		return nil, err
	}
	for name, o := range d.Outputs.All() {
		path := o.Path()
		if path == "" && realised {
			if path, err = s.realisedPath(ctx, drv, name); err != nil {
				return nil, err
			}
		}
		outputs[name] = path
	}
	return outputs, nil
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
// large closure are not computed anew for each derivation that is added to it. A hash depends on
// the contents of derivations alone, and they are part of their paths: what is remembered cannot
// become wrong.
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
// remembered are read from the store, with all that they need.
func (m *moduloHashes) inputsOf(ctx context.Context, s *Store, d *derivation.Derivation) (derivation.InputHashes, error) {
	known := make(map[storepath.Path]derivation.ModuloHash)
	lookup := func(path storepath.Path) (derivation.ModuloHash, bool) {
		h, ok := known[path]
		if !ok {
			if h, ok = m.get(path); ok {
				known[path] = h
			}
		}
		return h, ok
	}
	type reading struct {
		path storepath.Path
		d    *derivation.Derivation
	}
	stack := []reading{{"", d}}
	onStack := map[storepath.Path]bool{}
	for {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		top := stack[len(stack)-1]
		h, err := top.d.HashModulo(derivation.AsInput, lookup, nil)
		var missing *derivation.MissingInputError
		switch {
		case errors.As(err, &missing):
			if onStack[missing.Input] {
				return nil, fmt.Errorf("derivation '%s' depends on itself", missing.Input)
			}
			input, err := s.readDerivation(missing.Input)
			if err != nil {
				return nil, err
			}
			stack = append(stack, reading{missing.Input, input})
			onStack[missing.Input] = true
		case err != nil:
			return nil, err
		case len(stack) == 1:
			return lookup, nil
		default:
			known[top.path] = h
			m.put(top.path, h)
			stack = stack[:len(stack)-1]
			delete(onStack, top.path)
		}
	}
}
