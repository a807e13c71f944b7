package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"pix/activity"
	"pix/derivation"
	"pix/storepath"
)

// maxMissing is how many paths and references substituters may tell of in one answer: whoever
// makes them up as he goes would fill the memory. The largest closures that were ever seen have
// some 100,000.
const maxMissing = 1 << 20

// ErrTooManyPaths says that substituters have told of more paths than anybody needs.
var ErrTooManyPaths = errors.New("the closure that substituters tell of has too many paths")

// MissingWithoutSubstitutes returns what it would take to make paths valid in a store that can
// get nothing from elsewhere: derivations that would have to be built, and paths that are not
// to be had. The store must be an [OutputQuerier] and a [NARReader].
func MissingWithoutSubstitutes(ctx context.Context, s Store, paths []derivation.DerivedPath) (*Missing, error) {
	return FindMissing(ctx, s, nil, paths)
}

// An OutputSubstituter is a [SubstituteQuerier] that also knows which path an output of a derivation has
// got elsewhere; "" if nobody knows.
type OutputSubstituter interface {
	SubstitutableOutput(ctx context.Context, drv storepath.Path, output string) (storepath.Path, error)
}

// FindMissing returns what it would take to make paths valid in a store that gets what it lacks
// from substituters, if it can; nil is none. Outputs of a derivation are got from there if all
// that are wanted can be, and the derivation allows it, and else it would have to be built. Where an
// output is whose path is not known yet, the substituters may say: see [OutputSubstituter]. The store
// must be an [OutputQuerier] and a [NARReader].
//
// Many paths are asked about at once, so it takes as many questions as a closure is deep.
func FindMissing(ctx context.Context, s Store, substituters SubstituteQuerier, paths []derivation.DerivedPath) (*Missing, error) {
	m := missingFinder{
		s: s, substituters: substituters, loader: Derivations(s),
		missing: new(Missing), seen: make(map[string]bool), room: maxMissing,
	}
	for todo := paths; len(todo) > 0; {
		for _, path := range todo {
			if key := path.String(); !m.seen[key] {
				m.seen[key] = true
				if err := m.look(ctx, path); err != nil {
					return nil, err
				}
			}
		}
		if err := m.ask(ctx); err != nil {
			return nil, err
		}
		todo, m.next = m.next, nil
	}
	for _, list := range []*[]storepath.Path{&m.missing.WillBuild, &m.missing.WillSubstitute, &m.missing.Unknown} {
		slices.Sort(*list)
		*list = slices.Compact(*list)
	}
	return m.missing, nil
}

// A missingFinder collects what is missing.
type missingFinder struct {
	s            Store
	substituters SubstituteQuerier
	loader       derivation.Loader
	missing      *Missing
	seen         map[string]bool
	room         int // for paths and references that substituters tell of

	paths []storepath.Path         // that are not valid, about which substituters are asked next
	drvs  []unbuilt                // the same of derivations
	next  []derivation.DerivedPath // what these need
}

// An unbuilt derivation has outputs that are wanted and not valid.
type unbuilt struct {
	path    storepath.Path
	outputs []storepath.Path
	needs   []derivation.DerivedPath // for its build
}

// look notes what one path lacks.
func (m *missingFinder) look(ctx context.Context, path derivation.DerivedPath) error {
	built, ok := path.(derivation.Built)
	if !ok {
		valid, err := m.s.IsValidPath(ctx, path.Base())
		if err == nil && !valid {
			m.paths = append(m.paths, path.Base())
		}
		return err
	}
	drv, ok := built.Drv.(derivation.Opaque)
	if !ok {
		if h := activity.HandlerOf(ctx); h != nil {
			h.HandleEvent(activity.Log{Text: fmt.Sprintf("warning: Ignoring dynamic derivation %s while querying missing paths; not yet implemented", built.Drv)})
		}
		return nil
	}
	outputs, err := OutputMap(ctx, m.s, drv.Path)
	if errors.Is(err, ErrNotFound) {
		m.missing.Unknown = append(m.missing.Unknown, drv.Path)
		return nil
	}
	if err != nil {
		return err
	}
	lacking, unknown, err := m.lacking(ctx, outputs, built.Outputs)
	if err != nil || len(lacking)+len(unknown) == 0 {
		return err
	}
	d, err := m.load(ctx, drv.Path)
	if err != nil || d == nil {
		return err
	}
	u := unbuilt{drv.Path, lacking, inputsOf(d)}
	kind, err := d.Kind()
	if err != nil {
		return err
	}
	substitutable := m.substituters != nil && kind != derivation.Impure
	if substitutable {
		if substitutable, err = d.AllowsSubstitutes(); err != nil {
			return err
		}
	}
	if substitutable {
		if substitutable, err = m.locate(ctx, &u, unknown); err != nil {
			return err
		}
	}
	if substitutable {
		m.drvs = append(m.drvs, u)
	} else {
		m.build(u)
	}
	return nil
}

// locate asks the substituters where outputs are whose paths are not known yet, and adds them. It
// reports whether all are known then.
func (m *missingFinder) locate(ctx context.Context, u *unbuilt, unknown []string) (bool, error) {
	for _, output := range unknown {
		q, ok := m.substituters.(OutputSubstituter)
		if !ok {
			return false, nil
		}
		path, err := q.SubstitutableOutput(ctx, u.path, output)
		if err != nil || path == "" {
			return false, err
		}
		valid, err := m.s.IsValidPath(ctx, path)
		if err != nil {
			return false, err
		}
		if !valid {
			u.outputs = append(u.outputs, path)
		}
	}
	return true, nil
}

// build notes that a derivation would have to be built.
func (m *missingFinder) build(u unbuilt) {
	m.missing.WillBuild = append(m.missing.WillBuild, u.path)
	m.next = append(m.next, u.needs...)
}

// lacking returns the outputs that are wanted and not valid, and the names of those whose paths are
// not known.
func (m *missingFinder) lacking(ctx context.Context, outputs map[string]storepath.Path, wanted derivation.OutputsSpec) (lacking []storepath.Path, unknown []string, err error) {
	for name, path := range outputs {
		if !wanted.Contains(name) {
			continue
		}
		if path == "" {
			unknown = append(unknown, name)
			continue
		}
		valid, err := m.s.IsValidPath(ctx, path)
		if err != nil {
			return nil, nil, err
		}
		if !valid {
			lacking = append(lacking, path)
		}
	}
	return lacking, unknown, nil
}

// load reads a derivation, or returns nil if it was deleted just now.
func (m *missingFinder) load(ctx context.Context, path storepath.Path) (*derivation.Derivation, error) {
	text, err := m.loader.LoadDerivation(ctx, path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return derivation.ParseAt(path, text)
}

// inputsOf returns the outputs that the build of a derivation needs.
func inputsOf(d *derivation.Derivation) (needs []derivation.DerivedPath) {
	for input, outputs := range d.InputDerivations.All() {
		if names := outputs.Names.Slice(); len(names) > 0 {
			needs = append(needs, derivation.Built{Drv: derivation.Opaque{Path: input}, Outputs: derivation.NamedOutputs(names...)})
		}
	}
	return needs
}

// ask asks the substituters about what was noted, and what that needs is next.
func (m *missingFinder) ask(ctx context.Context) error {
	found, err := m.query(ctx)
	if err != nil {
		return err
	}
	for _, path := range m.paths {
		info, ok := found[path]
		if !ok {
			m.missing.Unknown = append(m.missing.Unknown, path)
			continue
		}
		m.missing.WillSubstitute = append(m.missing.WillSubstitute, path)
		m.missing.DownloadSize += info.DownloadSize
		m.missing.NARSize += info.NARSize
		if m.room -= 1 + len(info.References); m.room < 0 {
			return ErrTooManyPaths
		}
		for _, ref := range info.References {
			m.next = append(m.next, derivation.Opaque{Path: ref})
		}
	}
	for _, u := range m.drvs {
		if slices.ContainsFunc(u.outputs, func(p storepath.Path) bool { _, ok := found[p]; return !ok }) {
			m.build(u)
			continue
		}
		for _, output := range u.outputs {
			m.next = append(m.next, derivation.Opaque{Path: output})
		}
	}
	m.paths, m.drvs = nil, nil
	return nil
}

// query returns what the substituters say of the paths that were noted, if they have them.
func (m *missingFinder) query(ctx context.Context) (map[storepath.Path]SubstitutableInfo, error) {
	if m.substituters == nil {
		return nil, nil
	}
	asked := make(map[storepath.Path]storepath.ContentAddress)
	for _, path := range m.paths {
		asked[path] = storepath.ContentAddress{}
	}
	for _, u := range m.drvs {
		for _, path := range u.outputs {
			asked[path] = storepath.ContentAddress{}
		}
	}
	if len(asked) == 0 {
		return nil, nil
	}
	infos, err := m.substituters.QuerySubstitutablePathInfos(ctx, asked)
	found := make(map[storepath.Path]SubstitutableInfo, len(infos))
	for _, info := range infos {
		found[info.Path] = info
	}
	return found, err
}
