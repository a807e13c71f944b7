package closure

import (
	"bufio"
	"fmt"
	"io"

	"pix/storepath"
)

// WriteDOT writes the references as a graph in the language of Graphviz. Nodes are the last elements of the paths,
// labelled with the names. The output is sorted; references of a path to itself are left out.
func (c *Closure) WriteDOT(w io.Writer) error {
	out := bufio.NewWriter(w)
	out.WriteString("digraph {\n")
	for p, o := range c.All() {
		fmt.Fprintf(out, "  %q [label=%q];\n", p.Base(), p.Name())
		for _, ref := range o.References {
			if ref != p {
				writeDOTEdge(out, p, ref)
			}
		}
	}
	out.WriteString("}\n")
	return out.Flush()
}

// WriteDOT writes edges, such as the result of [Closure.Between], as a graph in the language of Graphviz.
func WriteDOT(w io.Writer, edges []Edge) error {
	out := bufio.NewWriter(w)
	out.WriteString("digraph {\n")
	for _, e := range edges {
		writeDOTEdge(out, e.From, e.To)
	}
	out.WriteString("}\n")
	return out.Flush()
}

func writeDOTEdge(w io.Writer, from, to storepath.Path) {
	fmt.Fprintf(w, "  %q -> %q;\n", from.Base(), to.Base())
}
