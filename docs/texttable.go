package docs

import (
	"strings"

	"github.com/yuin/goldmark/ast"
)

// minColumn is the width below which a column of a table does not shrink.
const minColumn = 8

// table writes a table in columns.
func (w *textWriter) table(n ast.Node, indent string) {
	var rows [][]string
	for row := n.FirstChild(); row != nil; row = row.NextSibling() {
		var cells []string
		for cell := row.FirstChild(); cell != nil; cell = cell.NextSibling() {
			cells = append(cells, w.inline(cell))
		}
		rows = append(rows, cells)
	}
	widths := columnWidths(rows, w.columns-len(indent))
	for i, cells := range rows {
		if i == 0 {
			for j := range cells {
				cells[j] = w.styled(cells[j], bold)
			}
		}
		w.row(cells, widths, indent)
		if i == 0 {
			rule := make([]string, len(widths))
			for j, n := range widths {
				rule[j] = strings.Repeat("-", n)
			}
			w.row(rule, widths, indent)
		}
	}
}

// row writes one row, whose cells may need several lines.
func (w *textWriter) row(cells []string, widths []int, indent string) {
	wrapped := make([][]string, len(cells))
	height := 0
	for i, cell := range cells {
		wrapped[i] = wrap(cell, widths[i])
		height = max(height, len(wrapped[i]))
	}
	for y := range height {
		line := ""
		for i, lines := range wrapped {
			text := ""
			if y < len(lines) {
				text = lines[y]
			}
			line += text + strings.Repeat(" ", max(0, widths[i]-width(text))) + "  "
		}
		w.line(indent, line)
	}
}

// columnWidths returns the widths of columns: as wide as their longest cell, and then the widest ones smaller until the
// table fits.
func columnWidths(rows [][]string, columns int) []int {
	var widths []int
	for _, cells := range rows {
		for i, cell := range cells {
			if i == len(widths) {
				widths = append(widths, 1)
			}
			widths[i] = max(widths[i], width(cell))
		}
	}
	total := 2 * (len(widths) - 1)
	for _, n := range widths {
		total += n
	}
	for ; total > columns; total-- {
		widest := 0
		for i := range widths {
			if widths[i] > widths[widest] {
				widest = i
			}
		}
		if widths[widest] <= minColumn {
			break
		}
		widths[widest]--
	}
	return widths
}
