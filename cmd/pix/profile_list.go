package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"pix/profile"
	"pix/store"
	"pix/storepath"
)

// profileListOptions are the flags of profile list.
type profileListOptions struct {
	*profileOptions
	generation string
	asJSON     bool
}

func newProfileList(a *app, profileFlags *profileOptions) *cobra.Command {
	o := profileListOptions{profileOptions: profileFlags}
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the packages in a profile",
		Long: `List the packages in a profile: a line each with the name and the paths, then the flake from which
'nix profile' has installed it. Both kinds of profiles are read: manifest.json of 'nix profile'
and manifest.nix of nix-env, which is not evaluated.

Only the manifest says which packages a profile has. A generation without one, such as a NixOS
system or a path of 'profile set', has only its path. A manifest of nix-env does not say where
packages come from, and manifests without names (version 1 and 2) get the names that Nix shows.`,
		Example: "  pix profile list\n  pix profile list --generation 3 --json",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.listPackages(cmd.Context(), o) },
	}
	flags := cmd.Flags()
	flags.StringVar(&o.generation, "generation", "", "list the packages of the generation with this `number`")
	flags.BoolVar(&o.asJSON, "json", false, "print an object with the generation and its packages")
	completeFlag(cmd, "generation", a.completeGenerations(profileFlags))
	return cmd
}

func (a *app) listPackages(ctx context.Context, o profileListOptions) error {
	p, err := a.profile(ctx, o.profileOptions)
	if err != nil {
		return err
	}
	g, err := chosenGeneration(ctx, p, o.generation)
	if err != nil {
		return profileError(err)
	}
	path, err := contents(g)
	if err != nil {
		return err
	}
	return a.withStore(ctx, toRead, func(ctx context.Context, s store.Store) error {
		if !mayHaveManifest(ctx, s, path) {
			return a.printNoManifest(g, o.asJSON)
		}
		m, err := profile.ReadManifest(ctx, s, path)
		if errors.Is(err, profile.ErrNoManifest) {
			return a.printNoManifest(g, o.asJSON)
		}
		if err != nil {
			return err
		}
		return a.printEither(a.packagesText(m), newPackagesJSON(g, m), o.asJSON)
	})
}

// mayHaveManifest reports false if the files of the store are on this machine, and the path has no manifest. Otherwise reading
// the manifest means reading the archive of the path up to it, which may be large.
func mayHaveManifest(ctx context.Context, s store.Store, path storepath.Path) bool {
	p, err := placementOf(ctx, s, path)
	if err != nil {
		return true
	}
	for _, name := range []string{"/manifest.json", "/manifest.nix"} {
		if _, err := os.Lstat(p.file(string(path) + name)); !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR) {
			return true
		}
	}
	return false
}

// chosenGeneration returns the generation with the number in a flag, or the current one.
func chosenGeneration(ctx context.Context, p *profile.Profile, number string) (profile.Generation, error) {
	if number == "" {
		return p.Current(ctx)
	}
	n, err := parseGeneration(number)
	if err != nil {
		return profile.Generation{}, err
	}
	return p.Generation(ctx, n)
}

// printNoManifest prints the path of a generation that has no manifest.
func (a *app) printNoManifest(g profile.Generation, asJSON bool) error {
	if !asJSON {
		fmt.Fprintf(a.stderr, "pix: note: generation %d has no manifest of packages, so only its path is known\n", g.Number)
	}
	return a.printEither(string(g.Path)+"\n", newPackagesJSON(g, nil), asJSON)
}

func (a *app) packagesText(m *profile.Manifest) string {
	var b strings.Builder
	for _, p := range m.Packages {
		b.WriteString(oneLine(a.shown(p.Name)))
		if !p.Active {
			b.WriteString(" (inactive)")
		}
		for _, path := range p.Paths {
			b.WriteString(" " + string(path))
		}
		if p.URL != "" {
			b.WriteString(" " + oneLine(a.shown(p.URL+"#"+p.AttrPath)))
		}
		b.WriteString("\n")
	}
	return b.String()
}

// The output of profile list --json.
type (
	packagesJSON struct {
		Generation uint64         `json:"generation"`
		Path       storepath.Path `json:"path"`
		Manifest   *string        `json:"manifest"`
		Version    *int           `json:"version"`
		Packages   []packageJSON  `json:"packages"`
	}
	packageJSON struct {
		Name        string           `json:"name"`
		Paths       []storepath.Path `json:"storePaths"`
		Active      bool             `json:"active"`
		Priority    *int             `json:"priority"`
		OriginalURL *string          `json:"originalUrl"`
		URL         *string          `json:"url"`
		AttrPath    *string          `json:"attrPath"`
		Outputs     []string         `json:"outputs"`
		Derivation  *string          `json:"derivation"`
		System      *string          `json:"system"`
	}
)

func newPackagesJSON(g profile.Generation, m *profile.Manifest) *packagesJSON {
	object := &packagesJSON{Generation: g.Number, Path: g.Path, Packages: []packageJSON{}}
	if m == nil {
		return object
	}
	file := "manifest.nix"
	if m.Version != 0 {
		file, object.Version = "manifest.json", &m.Version
	}
	object.Manifest = &file
	for _, p := range m.Packages {
		j := packageJSON{
			Name: p.Name, Paths: append([]storepath.Path{}, p.Paths...), Active: p.Active, Outputs: p.Outputs,
			OriginalURL: orNull(p.OriginalURL), URL: orNull(p.URL), AttrPath: orNull(p.AttrPath),
			Derivation: orNull(string(p.Derivation)), System: orNull(p.System),
		}
		if m.Version != 0 {
			j.Priority = &p.Priority
		}
		object.Packages = append(object.Packages, j)
	}
	return object
}
