package closure

import (
	"bufio"
	"fmt"
	"io"
	"slices"

	"pix/storepath"
)

// maxTreeLevels is the largest number of levels of a tree. The indentation of a line grows with its level, so the
// tree of a closure that is one long chain would take gigabytes. The closures of packages have some tens of levels.
const maxTreeLevels = 1000

// TreeOptions are the options for writing a tree. A nil pointer is the zero value.
type TreeOptions struct {
	Depth   int                              // how many levels below a root are written; 0 is all
	Reverse bool                             // below each object are the objects that refer to it
	Label   func(path storepath.Path) string // returns a text that follows the path, such as its size
}

// WriteTree writes the references of each root as a tree, as nix-store --query --tree does. It unfolds each path
// once, also across roots, and writes [...] after a path that was unfolded before.
//
// The error is a [*store.ReferenceCycleError], before anything is written, or a [*TreeDepthError] after the first
// 1,000 levels.
func (c *Closure) WriteTree(w io.Writer, opts *TreeOptions, roots ...storepath.Path) error {
	if opts == nil {
		opts = new(TreeOptions)
	}
	if _, err := c.sorted(); err != nil {
		return err
	}
	for _, root := range roots {
		if _, ok := c.index[root]; !ok {
			return fmt.Errorf("'%s' is not in the closure", root)
		}
	}
	out := bufio.NewWriterSize(w, 64<<10)
	t := &treeWriter{TreeOptions: *opts, out: out, closure: c, sorter: c.newSorter(), unfolded: make([]bool, c.Len())}
	if opts.Reverse {
		t.referrers, t.first = c.referrers()
	}
	for _, root := range roots {
		if err := t.write(c.index[root]); err != nil {
			out.Flush()
			return err
		}
	}
	return out.Flush()
}

// A TreeDepthError says that a tree has more levels than can be written.
type TreeDepthError struct{ Levels int }

func (e *TreeDepthError) Error() string {
	return fmt.Sprintf("the tree has more than %d levels", e.Levels)
}

type treeWriter struct {
	TreeOptions
	out      *bufio.Writer
	closure  *Closure
	sorter   *sorter
	unfolded []bool // by index

	referrers []int32 // see [Closure.referrers]; only for a reverse tree
	first     []int
}

// A treeNode is a line of the tree.
type treeNode struct {
	object int32
	indent string // of this node and its siblings
	last   bool   // whether no sibling follows
	level  int
}

// write writes the tree of a path. It keeps its own stack, because a closure may be deeper than the stack of a
// goroutine.
func (t *treeWriter) write(root int32) error {
	for todo := []treeNode{{object: root}}; len(todo) > 0; {
		n := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if err := t.writeLine(n, t.unfolded[n.object]); err != nil {
			return err
		}
		if t.unfolded[n.object] {
			continue
		}
		t.unfolded[n.object] = true
		if t.Depth > 0 && n.level >= t.Depth {
			continue
		}
		if n.level == maxTreeLevels {
			return &TreeDepthError{maxTreeLevels}
		}
		children, err := t.children(n)
		if err != nil {
			return err
		}
		todo = append(todo, children...)
	}
	return nil
}

func (t *treeWriter) writeLine(n treeNode, unfolded bool) error {
	branch := ""
	switch {
	case n.level == 0:
	case n.last:
		branch = "└───"
	default:
		branch = "├───"
	}
	path, label, mark := t.closure.paths[n.object], "", ""
	if t.Label != nil {
		label = t.Label(path)
	}
	if unfolded {
		mark = " [...]"
	}
	_, err := fmt.Fprintf(t.out, "%s%s%s%s%s\n", n.indent, branch, path, label, mark)
	return err
}

// children returns the nodes below a node in reverse order, because they are pushed on the stack. A reference that
// other references of the node need is written before them, which keeps the tree flat.
func (t *treeWriter) children(n treeNode) ([]treeNode, error) {
	indent := n.indent
	switch {
	case n.level == 0:
	case n.last:
		indent += "    "
	default:
		indent += "│   "
	}
	below := t.closure.withSelf(n.object)
	if t.Reverse {
		below = t.referrers[t.first[n.object]:t.first[n.object+1]]
	}
	sorted, err := t.sorter.sort(below)
	if err != nil {
		return nil, err
	}
	if t.Reverse {
		slices.Reverse(sorted)
	}
	children := make([]treeNode, len(sorted))
	for i, object := range sorted {
		children[len(sorted)-1-i] = treeNode{object, indent, i == len(sorted)-1, n.level + 1}
	}
	return children, nil
}
