package closure

import (
	"bufio"
	"fmt"
	"io"
	"strings"
)

// WriteGraphML writes the references as a graph in GraphML, in the form of nix-store --query --graphml: nodes have the
// keys narSize, name and type. References of a path to itself are left out. The output is sorted.
//
// Source: graphml.cc in Nix.
func (c *Closure) WriteGraphML(w io.Writer) error {
	out := bufio.NewWriterSize(w, 64<<10)
	out.WriteString("<?xml version='1.0' encoding='utf-8'?>\n" +
		"<graphml xmlns='http://graphml.graphdrawing.org/xmlns'\n" +
		"    xmlns:xsi='http://www.w3.org/2001/XMLSchema-instance'\n" +
		"    xsi:schemaLocation='http://graphml.graphdrawing.org/xmlns/1.0/graphml.xsd'>\n" +
		"<key id='narSize' for='node' attr.name='narSize' attr.type='long'/>" +
		"<key id='name' for='node' attr.name='name' attr.type='string'/>" +
		"<key id='type' for='node' attr.name='type' attr.type='string'/>" +
		"<graph id='G' edgedefault='directed'>\n")
	for i, path := range c.paths {
		kind := "output-path"
		if path.IsDerivation() {
			kind = "derivation"
		}
		// The base names of store paths have no character that XML reserves.
		fmt.Fprintf(out, "  <node id=\"%s\">\n    <data key=\"narSize\">%d</data>\n    <data key=\"name\">%s</data>\n    <data key=\"type\">%s</data>\n  </node>\n",
			path.Base(), c.sizes[i], graphMLName(path.Name()), kind)
		for _, ref := range c.refsOf(int32(i)) {
			fmt.Fprintf(out, "  <edge source=\"%s\" target=\"%s\"/>\n", path.Base(), c.paths[ref].Base())
		}
	}
	out.WriteString("</graph>\n</graphml>\n")
	return out.Flush()
}

// graphMLName returns the name up to its first dash, with the dash, and "" for a name without one, as Nix labels nodes.
func graphMLName(name string) string { return name[:strings.IndexByte(name, '-')+1] }
