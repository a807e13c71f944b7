package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

func newMan(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "man DIR",
		Short: "Write the manual pages of pix into a directory",
		Long: `Write the manual pages of pix into a directory, which is created if it does not exist: pix.1, and
pix-VERB.1 for each verb. Their date is $SOURCE_DATE_EPOCH, else the date of the commit that pix was
built from, else today.`,
		Example: "  pix man ~/.local/share/man/man1",
		GroupID: groupOther,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			date, err := a.manDate()
			if err != nil {
				return err
			}
			return writeMan(cmd.Context(), cmd.Root(), args[0], date)
		},
	}
}

// manDate returns the date of the manual pages.
func (a *app) manDate() (time.Time, error) {
	if s := a.getenv("SOURCE_DATE_EPOCH"); s != "" {
		seconds, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			return time.Time{}, &usageError{errors.New("SOURCE_DATE_EPOCH is not a number of seconds")}
		}
		return time.Unix(seconds, 0).UTC(), nil
	}
	if t := readBuildInfo().CommitTime; t != nil {
		return time.Unix(*t, 0).UTC(), nil
	}
	return time.Now().UTC(), nil
}

// writeMan writes the page of pix and the page of each verb.
func writeMan(ctx context.Context, root *cobra.Command, dir string, date time.Time) error {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	pages := map[string]string{"pix.1": manOfPix(root, date)}
	for _, group := range verbGroups(root) {
		for _, verb := range group.Verbs {
			pages["pix-"+pageName(verb)+".1"] = manOfVerb(verb, date)
		}
	}
	for name, text := range pages {
		if err := writeFile(ctx, filepath.Join(dir, name), []byte(text)); err != nil {
			return err
		}
	}
	return nil
}

// A manPage is a manual page in the format of man(7).
type manPage struct{ strings.Builder }

func newManPage(name string, date time.Time) *manPage {
	p := &manPage{}
	fmt.Fprintf(p, ".TH %s 1 %s pix\n", roff(strings.ToUpper(name)), date.Format(time.DateOnly))
	return p
}

// roffEscapes escapes characters that roff interprets or replaces.
var roffEscapes = strings.NewReplacer(`\`, `\e`, "-", `\-`, "'", `\(aq`, "`", `\(ga`, "^", `\(ha`, "~", `\(ti`)

// roff returns a line of text with roff characters escaped.
func roff(line string) string {
	if strings.HasPrefix(line, ".") {
		return `\&` + roffEscapes.Replace(line) // a dot at the beginning of a line is a request
	}
	return roffEscapes.Replace(line)
}

// text writes a paragraph that roff fills. The lines of the source are wrapped, too.
func (p *manPage) text(s string) {
	const width = 72
	line := ""
	for _, word := range strings.Fields(s) {
		if line != "" && len(line)+1+len(word) > width {
			p.WriteString(roff(line) + "\n")
			line = ""
		}
		line = strings.TrimPrefix(line+" "+word, " ")
	}
	p.WriteString(roff(line) + "\n")
}

func (p *manPage) section(title string) { p.WriteString(".SH " + title + "\n") }

// paragraphs writes paragraphs. Those that begin with a space are preformatted.
func (p *manPage) paragraphs(all []string) {
	for i, text := range all {
		if i > 0 {
			p.WriteString(".PP\n")
		}
		if strings.HasPrefix(text, " ") {
			p.literal(text)
		} else {
			p.text(text)
		}
	}
}

// literal writes a preformatted text, indented.
func (p *manPage) literal(text string) {
	p.WriteString(".RS 4\n.EX\n")
	for line := range strings.Lines(text) {
		p.WriteString(roff(strings.TrimPrefix(strings.TrimRight(line, "\n"), "  ")) + "\n")
	}
	p.WriteString(".EE\n.RE\n")
}

func (p *manPage) flags(title, usages string) {
	all := flagHelps(usages)
	if len(all) == 0 {
		return
	}
	p.section(title)
	for _, f := range all {
		p.WriteString(".TP\n\\fB" + roff(f.Name) + "\\fR")
		if f.Value != "" {
			p.WriteString(" \\fI" + roff(f.Value) + "\\fR")
		}
		p.WriteString("\n")
		p.text(f.Usage)
	}
}

func manOfVerb(verb *cobra.Command, date time.Time) string {
	name := "pix-" + pageName(verb)
	p := newManPage(name, date)
	p.section("NAME")
	fmt.Fprintf(p, "%s \\- %s\n", roff(name), roff(verb.Short))
	p.section("SYNOPSIS")
	first, arguments, _ := strings.Cut(verb.UseLine(), verbName(verb))
	fmt.Fprintf(p, "\\fB%s\\fR%s\n", roff(first+verbName(verb)), roff(arguments))
	p.section("DESCRIPTION")
	p.paragraphs(describe(verb))
	p.flags("OPTIONS", verb.LocalFlags().FlagUsages())
	if verb.Example != "" {
		p.section("EXAMPLE")
		p.literal(verb.Example)
	}
	p.section("SEE ALSO")
	p.WriteString(".BR pix (1),\nfor the options of all verbs, the environment and the exit codes.\n")
	return p.String()
}

func manOfPix(root *cobra.Command, date time.Time) string {
	p := newManPage("pix", date)
	p.section("NAME")
	fmt.Fprintf(p, "pix \\- %s\n", roff(root.Short))
	p.section("SYNOPSIS")
	p.WriteString("\\fBpix\\fR \\fIverb\\fR [options] [arguments]\n")
	p.section("DESCRIPTION")
	p.paragraphs(describe(root))
	p.section("VERBS")
	for _, group := range verbGroups(root) {
		p.WriteString(".SS " + roff(group.Title) + "\n")
		for _, verb := range group.Verbs {
			fmt.Fprintf(p, ".TP\n.BR %s (1)\n", roff("pix-"+pageName(verb)))
			p.text(verb.Short)
		}
	}
	p.flags("OPTIONS OF ALL VERBS", root.PersistentFlags().FlagUsages())
	for _, topic := range topics(root) {
		p.section(strings.ToUpper(topic.Name()))
		p.paragraphs(describe(topic))
	}
	return p.String()
}
