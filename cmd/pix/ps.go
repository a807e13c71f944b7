package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"pix/activity"
	"pix/internal/unsupported"
	"pix/store"
	"pix/storepath"
)

// psOptions are the flags of ps.
type psOptions struct{ asJSON, processes bool }

func newPs(a *app) *cobra.Command {
	var o psOptions
	cmd := &cobra.Command{
		Use:   "ps",
		Short: "Print the builds that run now",
		Long: `Print the builds that run now, a line each: the user and the first process of the builder, its
processor time, for how long it has run, its phase and the derivation. They are the builds of all
processes that use the store, or of all clients of the daemon, if that is pix or Determinate Nix.`,
		Example: "  pix ps --processes",
		GroupID: groupStore,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withStore(cmd.Context(), toRead, func(ctx context.Context, s store.Store) error {
				builds, err := store.QueryActiveBuilds(ctx, s)
				if errors.Is(err, errors.ErrUnsupported) {
					return unsupported.Errorf("only stores in a directory and the daemons of pix and Determinate Nix list running builds")
				}
				if err != nil {
					return err
				}
				return a.printBuilds(builds, time.Now(), o)
			})
		},
	}
	cmd.Flags().BoolVar(&o.asJSON, "json", false, "print a list of objects, one for each build")
	cmd.Flags().BoolVarP(&o.processes, "processes", "p", false, "below each build, print its processes")
	return cmd
}

func (a *app) printBuilds(builds []store.ActiveBuild, now time.Time, o psOptions) error {
	if o.asJSON {
		objects := make([]activeBuildJSON, len(builds))
		for i := range builds {
			objects[i] = newActiveBuildJSON(&builds[i])
		}
		return a.printJSON(objects)
	}
	if len(builds) == 0 {
		fmt.Fprintln(a.stderr, "no builds are running")
		return nil
	}
	return a.print(buildTable(builds, now, o.processes))
}

// buildTable returns the builds as a table.
func buildTable(builds []store.ActiveBuild, now time.Time, processes bool) string {
	rows := [][]string{{"USER", "PID", "CPU", "TIME", "PHASE", "DERIVATION"}}
	for i := range builds {
		b := &builds[i]
		cpu := "-"
		if total, known := b.CPU(); known {
			cpu = fmt.Sprintf("%.1fs", total.Seconds())
		}
		rows = append(rows, []string{
			userText(b.User), pidText(b.PID), cpu, max(now.Sub(b.Start), 0).Truncate(time.Second).String(), cmp.Or(oneWord(b.Phase), "-"), string(b.Derivation),
		})
		if processes {
			rows = append(rows, processRows(b)...)
		}
	}
	return alignColumns(rows)
}

// processRows returns a row for each process of a build, each after its parent.
func processRows(b *store.ActiveBuild) (rows [][]string) {
	children := make(map[int][]*store.ActiveProcess)
	listed := make(map[int]bool)
	for _, p := range b.Processes {
		listed[p.PID] = true
	}
	for i := range b.Processes {
		p := &b.Processes[i]
		parent := p.Parent
		if !listed[parent] || parent == p.PID {
			parent = 0
		}
		children[parent] = append(children[parent], p)
	}
	var add func(parent, depth int)
	add = func(parent, depth int) {
		below := children[parent]
		delete(children, parent) // a hostile daemon may send a cycle, or a process many times
		for _, p := range below {
			rows = append(rows, []string{userText(p.User), pidText(p.PID), processCPU(p), "", "", strings.Repeat("  ", depth) + safeArgs(p.Args)})
			add(p.PID, depth+1)
		}
	}
	add(0, 1)
	return rows
}

func processCPU(p *store.ActiveProcess) string {
	one := store.ActiveBuild{Processes: []store.ActiveProcess{*p}}
	total, known := one.CPU()
	if !known {
		return "-"
	}
	return fmt.Sprintf("%.1fs", total.Seconds())
}

func userText(u store.User) string { return cmp.Or(oneWord(u.Name), strconv.Itoa(u.UID)) }

func pidText(pid int) string {
	if pid == 0 {
		return "-"
	}
	return strconv.Itoa(pid)
}

// safeArgs returns the arguments of a process as one line. They come from the builder.
func safeArgs(args []string) string {
	return strings.Join(strings.Fields(activity.Plain(strings.Join(args, " "))), " ")
}

// oneWord returns a text of a builder or a daemon as one word that is safe on a terminal.
func oneWord(s string) string { return strings.Join(strings.Fields(activity.Plain(s)), "-") }

// alignColumns returns rows as a table. All columns but the last have one width, and numbers are at the right of theirs.
func alignColumns(rows [][]string) string {
	const firstRight, lastRight = 1, 3
	last := len(rows[0]) - 1
	widths := make([]int, last)
	for _, row := range rows {
		for i := range widths {
			widths[i] = max(widths[i], len(row[i]))
		}
	}
	var b strings.Builder
	for _, row := range rows {
		for i, width := range widths {
			if firstRight <= i && i <= lastRight {
				fmt.Fprintf(&b, "%*s  ", width, row[i])
			} else {
				fmt.Fprintf(&b, "%-*s  ", width, row[i])
			}
		}
		b.WriteString(row[last] + "\n")
	}
	return b.String()
}

// An activeBuildJSON is a build in the output of ps --json.
type activeBuildJSON struct {
	Derivation storepath.Path      `json:"derivation"`
	StartTime  int64               `json:"startTime"` // in seconds since 1970
	Phase      *string             `json:"phase"`
	User       activeUserJSON      `json:"user"`
	PID        *int                `json:"pid"`
	CPU        *float64            `json:"cpuSeconds"`
	OwnerPID   *int                `json:"ownerPid"` // of the process that runs the build
	ClientPID  *int                `json:"clientPid"`
	ClientUID  *int                `json:"clientUid"`
	Cgroup     *string             `json:"cgroup"`
	Processes  []activeProcessJSON `json:"processes"`
}

type activeUserJSON struct {
	UID  int     `json:"uid"`
	Name *string `json:"name"`
}

type activeProcessJSON struct {
	PID    int            `json:"pid"`
	Parent int            `json:"parent"`
	User   activeUserJSON `json:"user"`
	Args   []string       `json:"args"`
	CPU    *float64       `json:"cpuSeconds"`
}

func newActiveBuildJSON(b *store.ActiveBuild) activeBuildJSON {
	j := activeBuildJSON{
		Derivation: b.Derivation, StartTime: b.Start.Unix(), Phase: orNull(b.Phase), User: newActiveUserJSON(b.User),
		PID: orNoPID(b.PID), CPU: cpuSeconds(b), OwnerPID: orNoPID(b.Owner), ClientPID: b.ClientPID, ClientUID: b.ClientUID,
		Cgroup: orNull(b.Cgroup), Processes: make([]activeProcessJSON, len(b.Processes)),
	}
	for i, p := range b.Processes {
		one := store.ActiveBuild{Processes: b.Processes[i : i+1]}
		j.Processes[i] = activeProcessJSON{PID: p.PID, Parent: p.Parent, User: newActiveUserJSON(p.User), Args: notNull(p.Args), CPU: cpuSeconds(&one)}
	}
	return j
}

func newActiveUserJSON(u store.User) activeUserJSON { return activeUserJSON{u.UID, orNull(u.Name)} }

func orNoPID(pid int) *int {
	if pid == 0 {
		return nil
	}
	return &pid
}

func cpuSeconds(b *store.ActiveBuild) *float64 {
	total, known := b.CPU()
	if !known {
		return nil
	}
	seconds := total.Seconds()
	return &seconds
}
