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

// A Lazy is a package of a set. It is derived once, when it is first needed, even if several goroutines
// need it at the same moment. Inside a set it stands for the package: it is allowed wherever a [Spec]
// accepts a package.
//
// [Define], [Ready], [Call] and [Lazy.Override] create one.
type Lazy struct {
	name    atomic.Pointer[string] // in the first set that contains it
	recipe  func() (*normalSpec, error)
	derive  func() (*Package, error)
	derived atomic.Bool // derive has returned a package, so a walk need not visit it and its dependencies
}

// Define returns the package that a recipe declares. The recipe is called once, when the package is
// needed. It must use other packages of its set as a [*Lazy], and must not call [Lazy.Package].
func Define(recipe func() Spec) *Lazy {
	return define(func() (Spec, error) { return recipe(), nil })
}

// DefineErr is like [Define] for a recipe that can fail.
func DefineErr(recipe func() (Spec, error)) *Lazy { return define(recipe) }

func define(recipe func() (Spec, error)) *Lazy {
	l := &Lazy{}
	l.recipe = sync.OnceValues(func() (*normalSpec, error) {
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
		p, err := n.derive()
		l.derived.Store(err == nil)
		return p, err
	})
	return l
}

// callRecipe calls recipe. It must not be inlined, because [inRecipe] looks for it on the stack.
//
//go:noinline
func callRecipe(recipe func() (Spec, error)) (Spec, error) { return recipe() }

// errInRecipe is the error for a recipe that derives a package instead of mentioning it. If it waited
// for the package, it could wait for itself.
var errInRecipe = errors.New("a recipe must not derive packages of a set: put the Lazy itself into its Spec")

// inRecipe reports whether a recipe is running on this goroutine.
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

// Ready returns a Lazy for an existing package.
func Ready(p *Package) *Lazy {
	if p == nil {
		return failed(errNilPackage)
	}
	l := &Lazy{
		recipe: func() (*normalSpec, error) { return p.normal, nil },
		derive: func() (*Package, error) { return p, nil },
	}
	l.derived.Store(true)
	return l
}

// Override returns a package with changes. f is called once, when the package is needed, with a Spec
// that it may change; see [Package.Override] for the values in it.
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

var errNilLazy = errors.New("a *Lazy is nil: the set has no such package, or it was used before the set was complete; use it inside of Define")

var errNilPackage = errors.New("a *Package is nil")

func failed(err error) *Lazy { return define(func() (Spec, error) { return Spec{}, err }) }

// Out returns the path of an output, as [Package.Out] does.
func (l *Lazy) Out(name string) String {
	if l == nil {
		return String{err: errNilLazy}
	}
	return String{parts: []part{{kind: outputPart, lazy: l, text: name}}}
}

// Path returns the path of a file in the default output, as [Package.Path] does.
func (l *Lazy) Path(elem ...string) String { return l.Out("").Path(elem...) }

// Drv returns the path of the .drv file, as [Package.Drv] does.
func (l *Lazy) Drv() String {
	if l == nil {
		return String{err: errNilLazy}
	}
	return String{parts: []part{{kind: drvPart, lazy: l}}}
}

// String does not return a path, because the package may not be derived yet. It returns a text that
// makes every package that contains it fail with an error. Use [Sprintf] instead.
func (l *Lazy) String() string {
	name := "a package of a set"
	if l != nil && l.name.Load() != nil {
		name = fmt.Sprintf("package %q of a set", *l.name.Load())
	}
	return unprintable(fmt.Errorf("%s was printed by package fmt before it was derived: use pixpkgs.Sprintf", name))
}

// Package derives the package, if necessary, and returns it. Any number of goroutines may call it.
//
// The error is a [*CycleError] if the package depends on itself, directly or indirectly, or an error of
// [Derive]. A package that depends on a package that cannot be derived has the same error.
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

// deriveAll derives the packages, each after its dependencies. Several goroutines may derive the same
// packages at the same time. They wait for each other only while one calls a recipe or derives a single
// package, which never waits for another.
func deriveAll(roots []*Lazy) error {
	w := walk{visiting: map[*Lazy]bool{}}
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

// A walk is a depth-first traversal of the packages of a set. It has a stack of its own, so that only
// memory limits the depth of a set.
type walk struct {
	stack    []visit
	visiting map[*Lazy]bool // the packages on the stack
}

// A visit is a package and its dependencies that were not visited yet.
type visit struct {
	lazy  *Lazy
	needs []*Lazy
}

// visit pushes a package on the stack, unless it is derived already.
func (w *walk) visit(l *Lazy) error {
	switch {
	case l.derived.Load():
		return nil
	case w.visiting[l]:
		return w.cycle(l)
	}
	n, err := l.recipe()
	if err != nil {
		return err
	}
	w.visiting[l] = true
	w.stack = append(w.stack, visit{l, n.lazies()})
	return nil
}

// step visits the next dependency of the package on top of the stack. If there is none, it derives the
// package.
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
	delete(w.visiting, top.lazy)
	w.stack = w.stack[:len(w.stack)-1]
	return nil
}

// cycle returns the error for a package that depends on itself.
func (w *walk) cycle(l *Lazy) error {
	start := slices.IndexFunc(w.stack, func(v visit) bool { return v.lazy == l })
	e := &CycleError{}
	for _, v := range w.stack[start:] {
		e.Names = append(e.Names, v.lazy.displayName())
	}
	return e
}

// displayName returns the name of the package in a [CycleError].
func (l *Lazy) displayName() string {
	if name := l.name.Load(); name != nil {
		return *name
	}
	if n, err := l.recipe(); err == nil {
		return n.spec.Name
	}
	return "?"
}

// lazies returns the lazy packages that n mentions.
func (n *normalSpec) lazies() (all []*Lazy) {
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

// resolve returns n with all lazy packages derived and replaced.
func (n *normalSpec) resolve() (*normalSpec, error) {
	lazies := n.lazies()
	if len(lazies) == 0 {
		return n, nil
	}
	if inRecipe() {
		return nil, n.fail("", errInRecipe)
	}
	if err := deriveAll(lazies); errors.Is(err, errNilPackage) {
		return nil, n.fail("", err) // the Lazy without a package has no name
	} else if err != nil {
		return nil, err
	}
	return n.substitute()
}

// substitute returns n with lazy packages replaced by the packages, which must be derived.
func (n *normalSpec) substitute() (*normalSpec, error) {
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
			p.applyChoice()
		}
		return out, true, nil
	})
}
