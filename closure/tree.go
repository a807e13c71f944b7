package closure

import (
	"bufio"
	"fmt"
	"io"

	"pix/store"
	"pix/storepath"
)

// maxTreeLevels is the largest number of levels of a tree. The indentation of a line grows with its level, so the tree
// of a closure that is one long chain would take gigabytes. The closures of packages have some tens of levels.
const maxTreeLevels = 1000

// WriteTree writes the references of each root as a tree, as nix-store --query --tree does. It unfolds each path
// once, also across roots, and writes [...] after a path that was unfolded before. It stops at maxDepth levels below a
// root; 0 is no maximum.
//
// The error is a [*store.ReferenceCycleError], before anything is written, or a [*TreeDepthError] after the first
// 1,000 levels.
func (c *Closure) WriteTree(w io.Writer, maxDepth int, roots ...storepath.Path) error {
	if _, err := c.Sorted(); err != nil {
		return err
	}
	for _, root := range roots {
		if _, ok := c.index[root]; !ok {
			return fmt.Errorf("'%s' is not in the closure", root)
		}
	}
	out := bufio.NewWriterSize(w, 64<<10)
	t := &treeWriter{out: out, closure: c, unfolded: make([]bool, len(c.infos)), maxDepth: maxDepth}
	for _, root := range roots {
		if err := t.write(root); err != nil {
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
	out      *bufio.Writer
	closure  *Closure
	unfolded []bool // by index
	maxDepth int
}

// A treeNode is a line of the tree.
type treeNode struct {
	path   storepath.Path
	indent string // of this node and its siblings
	last   bool   // whether no sibling follows
	level  int
}

// write writes the tree of a path. It keeps its own stack, because a closure may be deeper than the stack of a
// goroutine.
func (t *treeWriter) write(root storepath.Path) error {
	for todo := []treeNode{{path: root}}; len(todo) > 0; {
		n := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		at := t.closure.index[n.path]
		if err := t.writeLine(n, t.unfolded[at]); err != nil {
			return err
		}
		if t.unfolded[at] {
			continue
		}
		t.unfolded[at] = true
		if t.maxDepth > 0 && n.level >= t.maxDepth {
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
	mark := ""
	if unfolded {
		mark = " [...]"
	}
	_, err := fmt.Fprintf(t.out, "%s%s%s%s\n", n.indent, branch, n.path, mark)
	return err
}

// children returns the references of a node in reverse order, because they are pushed on the stack. A reference that
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
	var infos []*store.PathInfo
	for _, p := range t.closure.infos[t.closure.index[n.path]].References {
		infos = append(infos, t.closure.infos[t.closure.index[p]])
	}
	infos, err := store.SortByReferences(infos)
	if err != nil {
		return nil, err
	}
	children := make([]treeNode, len(infos))
	for i, info := range infos {
		children[len(infos)-1-i] = treeNode{info.Path, indent, i == len(infos)-1, n.level + 1}
	}
	return children, nil
}
