package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"pix/derivation"
	"pix/storepath"
)

// MissingWithoutSubstitutes returns what a store without substituters would have to build to
// make paths valid, and the paths that are not available. The store must be an [OutputQuerier]
// and a [NARReader].
func MissingWithoutSubstitutes(ctx context.Context, s Store, paths []derivation.DerivedPath) (*Missing, error) {
	return FindMissing(ctx, s, nil, paths)
}

// Substituters answer the queries of [FindMissing] about paths that a store lacks. They may be
// used by many goroutines at the same time.
type Substituters interface {
	// FindSubstitute returns the answer of the first substituter that has a path, or nil if
	// none has it. With the content address, a substituter with another store directory can
	// have the path, too.
	FindSubstitute(ctx context.Context, path storepath.Path, ca storepath.ContentAddress) (*Substitute, error)

	// SubstitutableOutput returns the path that a substituter knows for an output of a
	// derivation, or "" if it is unknown.
	SubstitutableOutput(ctx context.Context, drv storepath.Path, output string) (storepath.Path, error)

	// AlwaysAllowed reports whether outputs are substituted even if their derivation does not allow it.
	AlwaysAllowed(ctx context.Context) (bool, error)

	// ClosureLimits returns the limits for the infos from substituters.
	ClosureLimits() Limits
}

// A Substitute describes a path that a substituter has.
type Substitute struct {
	Info         *PathInfo
	DownloadSize uint64 // in bytes, compressed; 0 if unknown
	Source       string // the name of the substituter, for messages
}

// FindMissing returns what a store would build and substitute to make paths valid. substituters
// may be nil. The outputs of a derivation are substituted if all wanted outputs can be and the
// derivation allows it. Otherwise the derivation would be built. The substituters may know the
// path of an output that is otherwise unknown. The store must be an [OutputQuerier] and a
// [NARReader].
//
// Many paths are queried at a time, so the number of round trips is the depth of the closure.
// The error is a [*LimitError] if the derivations exceed the [LimitsOf] the store, or the infos
// from substituters exceed the limits of the substituters.
func FindMissing(ctx context.Context, s Store, substituters Substituters, paths []derivation.DerivedPath) (*Missing, error) {
	limits := derivation.ForeignLimits()
	if substituters != nil {
		limits = substituters.ClosureLimits()
	}
	lent, release := LendDerivations(s)
	defer release()
	m := missingFinder{
		s: lent, substituters: substituters, loader: Derivations(lent), release: release,
		missing: new(Missing), seen: make(map[string]bool),
		contentAddresses: make(map[storepath.Path]storepath.ContentAddress),
		drvWalk:          NewWalk(s.Dir(), nameOf(s), LimitsOf(s), missingBytes),
		pathWalk:         NewWalk(s.Dir(), "the substituters", limits, missingBytes),
	}
	m.drvWalk.useBudgetOf(ctx)
	for todo := paths; len(todo) > 0; {
		for _, path := range todo {
			if key := path.String(); !m.seen[key] {
				m.seen[key] = true
				if err := m.inspect(ctx, path); err != nil {
					return nil, err
				}
			}
		}
		if err := m.querySubstituters(ctx); err != nil {
			return nil, err
		}
		todo, m.next = m.next, nil
	}
	for _, list := range []*[]storepath.Path{&m.missing.WillBuild, &m.missing.WillSubstitute, &m.missing.Unknown} {
		slices.Sort(*list)
		*list = slices.Compact(*list)
	}
	slices.SortFunc(m.missing.Dynamic, func(a, b derivation.Built) int { return strings.Compare(a.String(), b.String()) })
	return m.missing, nil
}

// missingBytes is the approximate memory in bytes of a missingFinder for each queried path and
// its references.
const missingBytes = 384

// A missingFinder collects the result of FindMissing.
type missingFinder struct {
	s            Store
	substituters Substituters
	loader       derivation.Loader
	release      func() // allows others to read derivations
	missing      *Missing
	seen         map[string]bool
	drvWalk      *Walk // from derivations to their inputs
	pathWalk     *Walk // through infos from substituters

	paths []storepath.Path         // invalid paths for the next queries
	drvs  []unbuiltDrv             // derivations for the next queries
	next  []derivation.DerivedPath // dependencies of the queried paths

	contentAddresses map[storepath.Path]storepath.ContentAddress // of invalid fixed outputs
}

// An unbuiltDrv is a derivation with wanted outputs that are not valid.
type unbuiltDrv struct {
	path    storepath.Path
	outputs []storepath.Path
	needs   []derivation.DerivedPath // inputs of its build
}

// inspect records the missing parts of one path.
func (m *missingFinder) inspect(ctx context.Context, path derivation.DerivedPath) error {
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
		m.missing.Dynamic = append(m.missing.Dynamic, built)
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
	lacking, unknown, err := m.missingOutputs(ctx, outputs, built.Outputs)
	if err != nil || len(lacking)+len(unknown) == 0 {
		return err
	}
	d, err := m.load(ctx, drv.Path)
	if err != nil || d == nil {
		return err
	}
	for _, output := range d.Outputs.All() {
		if path := output.Path(); output.Kind() == derivation.Fixed && slices.Contains(lacking, path) {
			m.contentAddresses[path] = output.ContentAddress()
		}
	}
	u := unbuiltDrv{path: drv.Path, outputs: lacking}
	if u.needs, err = inputsOf(d); err != nil {
		return fmt.Errorf("derivation '%s': %w", drv.Path, err)
	}
	substitutable, err := m.mayBeSubstituted(ctx, d)
	if err == nil && substitutable {
		substitutable, err = m.locateOutputs(ctx, &u, unknown)
	}
	if err != nil {
		return err
	}
	if substitutable {
		m.drvs = append(m.drvs, u)
		return nil
	}
	return m.addBuild(u)
}

// mayBeSubstituted reports whether the substituters may be queried for the outputs of a derivation.
func (m *missingFinder) mayBeSubstituted(ctx context.Context, d *derivation.Derivation) (bool, error) {
	kind, err := d.Kind()
	if err != nil || m.substituters == nil || kind == derivation.Impure {
		return false, err
	}
	allowed, err := d.AllowsSubstitutes()
	if err != nil || allowed {
		return allowed, err
	}
	return m.substituters.AlwaysAllowed(ctx)
}

// locateOutputs queries the substituters for the paths of outputs that are not known yet, and
// adds them. It reports whether all are known.
func (m *missingFinder) locateOutputs(ctx context.Context, u *unbuiltDrv, unknown []string) (bool, error) {
	for _, output := range unknown {
		m.release()
		path, err := m.substituters.SubstitutableOutput(ctx, u.path, output)
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

// addBuild records that a derivation would have to be built.
func (m *missingFinder) addBuild(u unbuiltDrv) error {
	inputs := make([]storepath.Path, len(u.needs))
	for i, need := range u.needs {
		inputs[i] = need.Base()
	}
	if _, err := m.drvWalk.Take(u.path, &PathInfo{Path: u.path, References: inputs}); err != nil {
		return err
	}
	m.missing.WillBuild = append(m.missing.WillBuild, u.path)
	m.next = append(m.next, u.needs...)
	return nil
}

// missingOutputs returns the wanted outputs that are not valid, and the names of those whose
// paths are unknown.
func (m *missingFinder) missingOutputs(ctx context.Context, outputs map[string]storepath.Path, wanted derivation.OutputsSpec) (lacking []storepath.Path, unknown []string, err error) {
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

// load reads a derivation, or returns nil if it was deleted in the meantime.
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

// inputsOf returns the input outputs of a derivation. They do not keep its text in memory.
func inputsOf(d *derivation.Derivation) (needs []derivation.DerivedPath, err error) {
	for input, outputs := range d.InputDerivations.All() {
		paths, err := outputs.Clone().DerivedPaths(derivation.Opaque{Path: input.Clone()})
		if err != nil {
			return nil, err
		}
		for _, path := range paths {
			needs = append(needs, path)
		}
	}
	return needs, nil
}

// querySubstituters queries the substituters for the recorded paths, and records their
// dependencies for the next round.
func (m *missingFinder) querySubstituters(ctx context.Context) error {
	found, err := m.substitutes(ctx)
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
		m.missing.NARSize += info.Info.NARSize
		m.pathWalk.Follow(info.Info)
	}
	for _, path := range m.pathWalk.Next() {
		m.next = append(m.next, derivation.Opaque{Path: path})
	}
	for _, u := range m.drvs {
		if slices.ContainsFunc(u.outputs, func(p storepath.Path) bool { _, ok := found[p]; return !ok }) {
			if err := m.addBuild(u); err != nil {
				return err
			}
			continue
		}
		for _, output := range u.outputs {
			m.next = append(m.next, derivation.Opaque{Path: output})
		}
	}
	m.paths, m.drvs = nil, nil
	return nil
}

// substitutes returns the substituters' answers about the recorded paths.
func (m *missingFinder) substitutes(ctx context.Context) (map[storepath.Path]*Substitute, error) {
	if m.substituters == nil {
		return nil, nil
	}
	asked := slices.Clone(m.paths)
	for _, u := range m.drvs {
		asked = append(asked, u.outputs...)
	}
	slices.Sort(asked)
	asked = slices.Compact(asked)
	if len(asked) == 0 {
		return nil, nil
	}
	m.release()
	all := make([]*Substitute, len(asked))
	infos, err := m.pathWalk.Ask(ctx, asked, substituteQueries, func(ctx context.Context, i int) (*PathInfo, string, error) {
		found, err := m.substituters.FindSubstitute(ctx, asked[i], m.contentAddresses[asked[i]])
		if found == nil || err != nil {
			return nil, "", err
		}
		all[i] = &Substitute{DownloadSize: found.DownloadSize} // the walk returns a counted copy of the info
		return found.Info, found.Source, nil
	})
	if err != nil {
		return nil, err
	}
	m.pathWalk.Start() // the references of outputs may not be needed
	found := make(map[storepath.Path]*Substitute)
	for i, path := range asked {
		if infos[i] != nil {
			all[i].Info = infos[i]
			found[path] = all[i]
		}
	}
	return found, nil
}

// substituteQueries is the number of concurrent queries to substituters.
const substituteQueries = 64

// A SubstitutableInfo is the info of a substituter about a path.
type SubstitutableInfo struct {
	Path         storepath.Path
	Deriver      storepath.Path // "" if unknown
	References   []storepath.Path
	DownloadSize uint64 // in bytes, compressed; 0 if unknown
	NARSize      uint64 // in bytes; 0 if unknown
}

// Missing lists what must be built and substituted to make paths valid.
type Missing struct {
	WillBuild      []storepath.Path // derivations
	WillSubstitute []storepath.Path
	Unknown        []storepath.Path // neither valid nor available

	// Dynamic are wanted or used outputs of derivations that are outputs themselves. What they need is known only after
	// the builds of those derivations. Daemons of Nix log them and do not return them.
	Dynamic []derivation.Built

	DownloadSize uint64 // total of WillSubstitute in bytes, compressed
	NARSize      uint64 // total of WillSubstitute in bytes
}
