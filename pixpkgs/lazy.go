package pixpkgs

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// A Lazy is a package of a set, which is derived when it is first needed, once, whoever
// needs it and however many do at the same moment. Inside of a set it stands for the
// package: it may be used wherever a [Spec] takes one.
//
// A Lazy is made by [Define], [Ready], [Call] and [Lazy.Override].
type Lazy struct {
	name   atomic.Pointer[string] // in the first set that it is in
	recipe func() (*normal, error)
	derive func() (*Package, error)
}

// Define returns the package that a recipe declares. The recipe is called once, when the
// package is needed; it must use other packages of its set as they are, and not call
// their [Lazy.Package].
func Define(recipe func() Spec) *Lazy {
	return define(func() (Spec, error) { return recipe(), nil })
}

// DefineErr is [Define] for a recipe that can fail.
func DefineErr(recipe func() (Spec, error)) *Lazy { return define(recipe) }

func define(recipe func() (Spec, error)) *Lazy {
	l := &Lazy{}
	l.recipe = sync.OnceValues(func() (*normal, error) {
		s, err := callRecipe(recipe)
		if err != nil {
			return nil, err
		}
		return normalise(&s)
	})
	l.derive = sync.OnceValues(func() (*Package, error) {
		n, err := l.recipe()
		if err != nil {
			return nil, err
		}
		if n, err = n.substitute(); err != nil {
			return nil, err
		}
		return n.derive()
	})
	return l
}

// callRecipe calls the recipe. [inRecipe] looks for it on the stack.
//
//go:noinline
func callRecipe(recipe func() (Spec, error)) (Spec, error) { return recipe() }

// errInRecipe is what a recipe gets that asks for a package instead of declaring it. If it
// waited, it could wait for itself.
var errInRecipe = errors.New("a recipe may not ask for packages of a set: it puts the Lazy itself into its Spec")

// inRecipe reports whether a recipe is calling, on this goroutine.
func inRecipe() bool {
	var pcs [256]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs[:])])
	for {
		frame, more := frames.Next()
		if strings.HasSuffix(frame.Function, "pixpkgs.callRecipe") {
			return true
		}
		if !more {
			return false
		}
	}
}

// Ready returns a package that is there already as one of a set.
func Ready(p *Package) *Lazy {
	return &Lazy{
		recipe: func() (*normal, error) { return p.normal, nil },
		derive: func() (*Package, error) { return p, nil },
	}
}

// Override returns the package as it is with changes. f is called once, when that is
// needed, with a Spec of its own, in which it may change everything; see
// [Package.Override] for what values look like there.
func (l *Lazy) Override(f func(*Spec)) *Lazy {
	if l == nil {
		return failed(errNilLazy)
	}
	return define(func() (Spec, error) {
		n, err := l.recipe()
		if err != nil {
			return Spec{}, err
		}
		s := n.toSpec()
		f(&s)
		return s, nil
	})
}

var errNilLazy = errors.New("a *Lazy is nil: a set has no such package, or it was used while the set was made; inside of Define all are there")

func failed(err error) *Lazy { return define(func() (Spec, error) { return Spec{}, err }) }

// Out returns the path of an output, "" for the default one, as [Package.Out] does.
func (l *Lazy) Out(name string) String {
	if l == nil {
		return String{err: errNilLazy}
	}
	return String{parts: []part{{kind: outputPart, lazy: l, text: name}}}
}

// Path returns the path of a file in the default output, as [Package.Path] does.
func (l *Lazy) Path(elem ...string) String { return l.Out("").Path(elem...) }

// String returns no path, for a package that is not derived has none; what uses it gets an
// error that says so. Use [Sprintf].
func (l *Lazy) String() string {
	name := "a package of a set"
	if l != nil && l.name.Load() != nil {
		name = fmt.Sprintf("package %q of a set", *l.name.Load())
	}
	return misprint(fmt.Errorf("%s is not derived yet when it is printed by package fmt: use pixpkgs.Sprintf", name))
}

// Package returns the package. It may be called by any number of goroutines.
//
// The error is a [*CycleError] if the package needs itself, by way of others or not, or
// that of [Derive]. What needs a package that cannot be derived has its error.
func (l *Lazy) Package() (*Package, error) {
	if l == nil {
		return nil, errNilLazy
	}
	if inRecipe() {
		return nil, errInRecipe
	}
	if err := deriveAll([]*Lazy{l}); err != nil {
		return nil, err
	}
	return l.derive()
}

// deriveAll derives the packages, each after those that it needs. Several goroutines may do
// so with the same packages: they wait for each other only where one calls a recipe or
// derives, which never waits.
func deriveAll(roots []*Lazy) error {
	w := walk{state: map[*Lazy]walkState{}}
	for _, root := range roots {
		if err := w.visit(root); err != nil {
			return err
		}
		for len(w.stack) > 0 {
			if err := w.step(); err != nil {
				return err
			}
		}
	}
	return nil
}

// A walk goes over the packages of a set in depth. It keeps a stack of its own, so that a
// set may be as deep as memory allows.
type walk struct {
	state map[*Lazy]walkState
	stack []visit
}

type walkState uint8

const (
	underway walkState = iota + 1 // it is on the stack
	derived
)

// A visit is a package and those of its needs that were not visited yet.
type visit struct {
	lazy  *Lazy
	needs []*Lazy
}

// visit puts a package on the stack.
func (w *walk) visit(l *Lazy) error {
	switch w.state[l] {
	case derived:
		return nil
	case underway:
		return w.cycle(l)
	}
	n, err := l.recipe()
	if err != nil {
		return err
	}
	w.state[l] = underway
	w.stack = append(w.stack, visit{l, n.lazies()})
	return nil
}

// step visits the next need of the package on top of the stack, or derives that.
func (w *walk) step() error {
	top := &w.stack[len(w.stack)-1]
	if len(top.needs) > 0 {
		next := top.needs[0]
		top.needs = top.needs[1:]
		return w.visit(next)
	}
	if _, err := top.lazy.derive(); err != nil {
		return err
	}
	w.state[top.lazy] = derived
	w.stack = w.stack[:len(w.stack)-1]
	return nil
}

// cycle returns the error for a package that is needed by itself.
func (w *walk) cycle(l *Lazy) error {
	start := slices.IndexFunc(w.stack, func(v visit) bool { return v.lazy == l })
	e := &CycleError{}
	for _, v := range w.stack[start:] {
		e.Names = append(e.Names, v.lazy.title())
	}
	return e
}

// title returns how a cycle names the package.
func (l *Lazy) title() string {
	if name := l.name.Load(); name != nil {
		return *name
	}
	if n, err := l.recipe(); err == nil {
		return n.spec.Name
	}
	return "?"
}

// lazies returns the packages that n mentions and that may not be derived yet.
func (n *normal) lazies() (all []*Lazy) {
	n.eachString(func(s *String) error {
		for i := range s.parts {
			if l := s.parts[i].lazy; l != nil {
				all = append(all, l)
			}
		}
		return nil
	})
	return all
}

// resolve returns n with packages in the place of all lazy ones.
func (n *normal) resolve() (*normal, error) {
	lazies := n.lazies()
	if len(lazies) == 0 {
		return n, nil
	}
	if inRecipe() {
		return nil, n.fail("", errInRecipe)
	}
	if err := deriveAll(lazies); err != nil {
		return nil, err
	}
	return n.substitute()
}

// substitute puts packages, which are derived, into the places of lazy ones.
func (n *normal) substitute() (*normal, error) {
	return n.mapStrings(func(s *String) (String, bool, error) {
		out := String{s.text, slices.Clone(s.parts), s.err}
		for i := range out.parts {
			p := &out.parts[i]
			if p.lazy == nil {
				continue
			}
			var err error
			if p.pkg, err = p.lazy.derive(); err != nil {
				return out, false, err
			}
			p.lazy = nil
		}
		return out, true, nil
	})
}
