package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// A question is one that users of Nix ask in public, the command that answers it, and a part of the answer. {NAME} stands for a
// path of the store of newQuestionStore.
type question struct {
	question, source, command string
	code                      int
	answer                    string
	varies                    bool // the output has times and process ids
}

// A questionGroup is a section of the page of questions.
type questionGroup struct {
	title     string
	questions []question
}

var questionGroups = []questionGroup{
	{"Dependencies", []question{
		{"Why is this package in my closure?", "Discourse 39867", "why-depends {system2} {lib2}", 0, `(?s)^{system2}\n  /bin/start\n  {app2}\n    /bin/start\n    {lib2}\n$`, false},
		{"Which files of a package contain the reference?", "NixOS/nixpkgs#155924", "why-depends {app2} {lib2}", 0, `\n  /bin/start\n`, false},
		{"Through which paths does one path depend on another?", "NixOS/nixpkgs#22757", "why-depends --all {both} {lib1}", 0, `^{both} -> {lib1}\n$`, false},
		{"Nix says that a path does not depend on another. Is that so?", "NixOS/nix#1928", "why-depends {system2} {lib1}", 1, `does not need '{lib1}'`, false},
		{"Why does a build need this derivation?", "NixOS/nix#5219", "why-depends {system2.drv} {src.drv}", 0, `(?s){system2.drv}\n.*{app2.drv}\n.*{lib2.drv}\n.*{src.drv}\n$`, false},
		{"What are the build-time dependencies of a package?", "NixOS/nix#1245", "closure {system2.drv}", 0, `(?m)^{src.drv}$`, false},
		{"Which paths are in the closure?", "NixOS/nix.dev#112", "closure {system2}", 0, `(?m)^{lib2}$`, false},
		{"What does the dependency tree look like?", "NixOS/nix-pills#10", "tree --sizes {system2}", 0, `{app2}`, false},
		{"What depends on this path?", "utdemir/nix-tree#26", "referrers {lib2}", 0, `(?m)^{app2}$`, false},
		{"What depends on this path, directly or indirectly?", "NixOS/nix#364", "tree --reverse {lib2}", 0, `(?s){lib2}\n.*{app2}\n.*{system2}\n`, false},
		{"Which packages need two versions of a library?", "NixOS/nixpkgs#249680", "tree --reverse --depth 1 {lib1} {lib2}", 0, `(?s){lib1}\n.*{both}.*{lib2}\n.*{both}`, false},
		{"Which derivations are built again if this one changes?", "NixOS/nixpkgs#31353", "tree --reverse --depth 2 {lib2.drv}", 0, `(?s)^{lib2.drv}\n.*{app2.drv}\n.*{system2.drv}\n`, false},
		{"How do I draw the dependency graph?", "utdemir/nix-tree#59", "graph --dot {system2}", 0, `(?s)^digraph .*-system-25.* -> .*-app-5`, false},
	}},
	{"Sizes", []question{
		{"How large is a package with all dependencies?", "NixOS/nix#11864", "path-info -Sh {system2}", 0, `^{system2}\s+\d.* KiB\n$`, false},
		{"Which are the largest paths of the closure?", "NixOS/nixpkgs#46077", "path-info -r --table --sort nar-size {system2}", 0, `{system2}`, false},
		{"My closure is too big. What can I remove, and how much smaller is it then?", "utdemir/nix-tree#14", "path-info -r --table --sort added-size {system2}", 0, `(?i)added`, false},
		{"How can I send a picture of the closure to a colleague, as one HTML file?", "Azeirah/nix-deps-treemap#1", "view --export closure.html {system2}", 0, `^$`, false},
		{"What takes the space in the whole store?", "NixOS/nixpkgs#107915", "path-info --all --table --sort nar-size", 0, `(?s)^ +NAR size +closure size +added size +path\n.*{system2}\n`, false},
	}},
	{"Changes and rebuilds", []question{
		{"What changed between two generations?", "NixOS/nix#3818", "profile diff --profile {profile} 1 2", 0, `lib: 1 (→|->) 2`, false},
		{"Which packages changed between two closures, and by how much?", "manic-systems/dix#56", "diff {system1} {both}", 0, `(?s)both: added 4.*lib: 1 (→|->) 1, 2`, false},
		{"Why was this built again?", "NixOS/nixpkgs#48297", "explain --why-rebuilt {system1.drv} {system2.drv}", 1, `(?s)2\. variable version of lib-1\n   through system-25 <- app-5 <- lib-2\n   - 1\n   \+ 2\n`, false},
		{"Which packages are only rebuilt because of others?", "indexable-inc/index#1329", "explain --why-rebuilt {system1.drv} {system2.drv}", 1, `(?s)only because of their inputs: 2\n   {system2.drv}\n   {app2.drv}`, false},
		{"The URL of a source changed. Is something built again?", "Gabriella439/nix-diff#4", "explain --why-rebuilt {lib1.drv} {moved.drv}", 0, `The outputs have the same paths`, false},
		{"Which input changed the hash?", "NixOS/nix#11554", "explain --against {app1.drv} {app2.drv}", 1, `(?s)The modulo hash: differs.*in {lib1.drv}.*in {lib2.drv}`, false},
		{"Which derivations affect the output hash?", "Gabriella439/nix-diff#10", "explain --affects {lib2.drv}", 0, `changes its outputs: 2\n`, false},
		{"What differs between two derivations?", "Gabriella439/nix-diff#23", "drv-diff {system1.drv} {system2.drv}", 1, `because: name of lib-1; variable version of lib-1`, false},
		{"Do two derivations have the same output path?", "Discourse 24360", "outputs {lib1.drv} {moved.drv}", 0, `^({lib1}\n){2}$`, false},
		{"A build is not reproducible. Which file differs?", "NixOS/nixpkgs#358808", "explain --archive --against {lib1} {lib2}", 1, `(?s)differs at byte \d+.*in /bin/start: file`, false},
	}},
	{"Hashes and paths", []question{
		{"Where does the hash in the path of an output come from?", "NixOS/nix#9189", "explain {lib2}", 0, `output:out:sha256:[0-9a-f]{64}:/nix/store:lib-2\n(?s).*= {lib2}\n`, false},
		{"How is the path of a .drv file computed?", "Discourse 5300", "explain {lib2.drv}", 0, `(?s)= {lib2.drv}\n`, false},
		{"How can I prove, without Nix, that a path follows from its contents?", "NixOS/nix#12672", "explain --commands {here}", 0, `(?m)^s1_content=\$\(printf '.*nix-archive-1.*' \| sha256sum .*\)$`, false},
		{"Is a path content-addressed, and by which contents?", "NixOS/nix#7088", "explain {here}", 0, `(?s)source:sha256:[0-9a-f]{64}:/nix/store:source\n.*= {here}\n`, false},
		{"Is the hash of a download the hash of the file or of its archive?", "nix-community/dream2nix#54", "explain {src.drv}", 0, `With the method flat, the hash is computed from the bytes of the file`, false},
		{"Why does a source have another path on another machine?", "NixOS/nix#7125", "explain --archive {here} --against {there}", 1, `(?s)differs at byte 408\n.*in /configure: file.*in /configure: executable file`, false},
		{"Which path would this file get?", "Nix Pills 18", "store-path --mode flat --name src file", 0, `^/nix/store/[0-9a-z]{32}-src\n$`, false},
		{"Which hash in base 32 is the same as this one?", "haskell-nix/hnix-store#24", "explain sha256-ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=", 0, `= 1b8m03r63zqhnjf7l5wnldhh7c134ap5vpj0850ymkq1iyzicy5s\n`, false},
		{"How do I convert a hash?", "Nix manual, nix hash convert", "hash-convert --to nix32 sha256-ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=", 0, `1b8m03r63zqhnjf7l5wnldhh7c134ap5vpj0850ymkq1iyzicy5s\n$`, false},
		{"Which files are in an archive, and at which offsets?", "NixOS/nix#1257", "explain here.nar", 0, `configure`, false},
		{"How do I read one file of an archive?", "256lights/zb#65", "nar-cat here.nar README", 0, `^read me\n$`, false},
		{"Which hash does fetchgit want for this directory?", "NixOS/nix#1880", "hash-path --base32 here", 0, `^sha256:[0-9a-z]{52}\n$`, false},
		{"Which path has this hash part?", "NixOS/nix#7187", "path-info -s {lib2.hash}", 0, `^{lib2}\s+464\n$`, false},
		{"Is this .drv file in order, and are its output paths right?", "NixOS/nix#7150", "drv-verify {lib2.drv}", 0, ``, false},
	}},
	{"Garbage", []question{
		{"Why is this path not collected?", "NixOS/nix#7160", "gc --explain {lib2}", 0, `(?s)(result|system-2-link)\n.*{lib2}`, false},
		{"No root is listed for the path. Is it garbage?", "NixOS/nix#6141", "gc --explain {tool}", 1, `{tool} is garbage: no root needs it`, false},
		{"Which roots keep this path?", "NixOS/nix#1597", "roots {lib2}", 0, `(?s)result -> {both}.*system-2-link -> {system2}`, false},
		{"Which generation keeps the old system?", "nix-community/lanzaboote#174", "roots {system1}", 0, `system-1-link -> {system1}\n$`, false},
		{"What are all the roots?", "NixOS/nix#4633", "roots", 0, `(?m)result -> {both}$`, false},
		{"Which roots take the space, and how much would be freed without them?", "NixOS/nix#4633", "roots --sizes", 0, `(?s)closure size +own size.*KiB +576 bytes .*result -> {both}\n`, false},
		{"What would a collection delete, and how much would it free?", "NixOS/nix#7591", "gc --dry-run", 0, `(?ms)^{tool}$.* would be deleted, with archives of \d.* KiB`, false},
		{"What would a collection without the old generations delete?", "NixOS/nix#1751", "gc --dry-run --delete-old", 0, `would delete generation 1 of profile .*/system'`, false},
		{"Which generations does a profile have?", "numtide/system-manager#34", "profile history --profile {profile}", 0, `(?s)1 .*2 `, true},
		{"How can I delete only some generations?", "NixOS/nix#9803", "profile delete-generations --dry-run --profile {profile} 1", 0, `system-1-link`, false},
	}},
	{"Signatures and caches", []question{
		{"It lacks a signature by a trusted key. Who signed it?", "NixOS/nix#2127", "explain --signatures --trusted-public-keys= {lib2}", 1, `no trusted key has the name "cache.example.org-0"`, false},
		{"Does the signature hold?", "NixOS/nix#4981", "explain --signatures --trusted-public-keys={key} {lib2}", 0, `= 1;{lib2};sha256:[0-9a-z]{52};\d+;\n`, false},
		{"Why does a path without a signature verify?", "NixOS/nix#2451", "explain --signatures {here}", 0, `content-addressed`, false},
		{"Is the path unchanged since it was built?", "NixOS/nix#1552", "verify --no-trust {lib2}", 0, ``, false},
		{"Is the whole store in order after a power cut?", "NixOS/nix#2735", "verify-store --check-contents", 0, ``, false},
		{"Does a cache have this path?", "NixOS/nix#1607", "is-valid --store {cache} {lib2} {app2}", 1, `^valid\ninvalid\n$`, false},
		{"Which paths are in a cache?", "NixOS/nix#1945", "valid-paths --store {cache}", 0, `^{lib2}\n$`, false},
		{"Which files does a path in a cache have?", "fzakaria/nix-http-binary-cache-api-spec#1", "ls -R --store {cache} {lib2}", 0, `bin/start`, false},
		{"How do I read one file of a path in a cache?", "NixOS/nix#1257", "cat --store {cache} {lib2}/bin/start", 0, `^version 2\n$`, false},
		{"How large is a path in a cache?", "NixOS/nix#6137", "path-info --store {cache} -sh {lib2}", 0, `^{lib2}\s+464 bytes\n$`, false},
		{"A substitute is refused. Is the signature in the cache right?", "NixOS/nix#8254", "explain --signatures --store {cache} --trusted-public-keys={key} {lib2}", 0, `(?s)cache.example.org-0.*\n   = valid\n`, false},
	}},
	{"Builds", []question{
		{"What would be built or fetched, and how large is it?", "NixOS/nix#3752", "build --dry-run {new.drv}^*", 0, `{new.drv}`, false},
		{"Which derivation made this path?", "NixOS/nix#943", "derivers {lib2}", 0, `^{lib2.drv}\n$`, false},
		{"When was this path built, and on this machine?", "NixOS/nix#5161", "path-info --json {lib2}", 0, `(?s)"registrationTime": \d+.*"ultimate": `, true},
		{"Where is the build log of this path?", "NixOS/nix#7931", "log {lib2}", 0, `compiling lib\ndone\n`, false},
		{"Which fields does this derivation have?", "NixOS/nix#1245", "drv-show {lib2}", 0, `"version": "2"`, false},
		{"What are the output paths of a derivation that is not built?", "NixOS/nix#5895", "outputs {new.drv}", 0, `-new-1\n$`, false},
	}},
	{"The daemon", []question{
		{"What does a command ask the daemon?", "NixOS/nix#6950", "monitor {daemon} -- pix closure {system2}", 0, `(?s)QueryPathInfo path={system2} .*QueryPathInfo path={app2} `, true},
		{"Which requests are slow?", "NixOS/nix#3372", "monitor --slower-than 1h {trace}", 0, `(?s)CALLS.*MEAN.*\nQueryPathInfo  +1 `, true},
		{"Which client sends them?", "NixOS/nix#16270", "monitor {trace}", 0, `connect pid \d+, user .*: pix path-info {lib2}\n`, true},
	}},
}

// questionsPage is the page with all questions and answers.
const questionsPage = "../../docs/questions.md"

// Each question is answered by one command. The page has the answers; -update writes it.
func TestQuestions(t *testing.T) {
	page, err := filepath.Abs(questionsPage)
	if err != nil {
		t.Fatal(err)
	}
	q := newQuestionStore(t, 0)
	q.serve()
	var b strings.Builder
	b.WriteString(questionsIntroduction)
	for _, g := range questionGroups {
		fmt.Fprintf(&b, "\n## %s\n", g.title)
		for _, c := range g.questions {
			code, out := q.ask(c.command)
			if code != c.code || !regexp.MustCompile(q.fill(c.answer, true)).MatchString(out) {
				t.Errorf("%s\npix %s: exit code %d, want %d, and no match for %s in\n%s", c.question, c.command, code, c.code, c.answer, out)
			}
			q.writeAnswer(&b, c, out)
		}
	}
	checkQuestionsPage(t, page, b.String())
}

func checkQuestionsPage(t *testing.T, page, want string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(page, []byte(want), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := os.ReadFile(page); err != nil || string(got) != want {
		t.Errorf("docs/questions.md differs from the answers (%v); go test ./cmd/pix -run TestQuestions -update writes it again", err)
	}
}

const questionsIntroduction = `# Questions and answers

<!-- Generated from the answers by go test ./cmd/pix -run TestQuestions -update: do not edit. -->

Users of Nix ask these questions in public. One command answers each. A test asks them of a small store: two generations of a system
need the package ` + "`app`" + `, which needs a version of ` + "`lib`" + `. The package ` + "`both`" + ` needs two versions of ` + "`lib`" + `. Here ` + "`...`" + ` stands for the rest
of a hash part, of a long line and of a long answer. For another store than the one of this machine, add ` + "`" + `--store` + "`" + `. The file
` + "`trace`" + ` is a recording: ` + "`pix monitor --record trace -- COMMAND`" + ` writes it.
`

// The page has the beginning and the end of each answer.
const (
	firstAnswerLines = 5
	lastAnswerLines  = 10
	minHiddenLines   = 4
	maxAnswerColumns = 120
)

// writeAnswer writes a question with its command and the answer, unless it has times or process ids, which would change with each run.
func (q *questionStore) writeAnswer(b *strings.Builder, c question, out string) {
	command := strings.Join(strings.Fields(strings.ReplaceAll(c.command, "{daemon}", "")), " ")
	command = strings.Replace(command, "{new.drv}^*", "'{new.drv}^*'", 1)
	fmt.Fprintf(b, "\n### %s\n\n```console\n$ pix %s\n", c.question, q.shortened(q.fill(command, false)))
	var lines []string
	if !c.varies {
		lines = q.shownLines(c, out)
	}
	for _, line := range lines {
		if text := strings.TrimRight(line, " \n"); utf8.RuneCountInString(text) > maxAnswerColumns {
			line = string([]rune(text)[:maxAnswerColumns]) + "...\n"
		}
		b.WriteString(strings.TrimRight(line, " \n") + "\n")
	}
	b.WriteString("```\n")
	if c.varies {
		verb, _, _ := strings.Cut(c.command, " ")
		page, ok := map[string]string{"monitor": "monitor.md", "path-info": "json.md#path-info", "profile": "profiles.md"}[verb]
		if !ok {
			q.t.Errorf("no page has an answer of the command %s", c.command)
		}
		name, _, _ := strings.Cut(page, "#")
		fmt.Fprintf(b, "\nThe answer has times, so it is not shown here; [%s](%s) has one.\n", name, page)
	}
}

// shownLines returns the lines of an answer that the page shows: of a long answer the beginning, the lines that answer the
// question, and the end.
func (q *questionStore) shownLines(c question, out string) []string {
	lines := slices.Collect(strings.Lines(q.shortened(out)))
	if len(lines) <= firstAnswerLines+lastAnswerLines+1 {
		return lines
	}
	match := regexp.MustCompile(q.fill(c.answer, true)).FindStringIndex(out)
	first := strings.Count(out[:match[0]], "\n")
	last := strings.Count(strings.TrimSuffix(out[:match[1]], "\n"), "\n")
	shows := func(i int) bool {
		return i < firstAnswerLines || i >= len(lines)-lastAnswerLines || i >= first-1 && i <= first+1 || i >= last-1 && i <= last+1
	}
	var shown []string
	for i := 0; i < len(lines); {
		end := i
		for end < len(lines) && !shows(end) {
			end++
		}
		if end-i >= minHiddenLines {
			shown = append(shown, "...\n")
		} else {
			end = max(end, i+1)
			shown = append(shown, lines[i:end]...)
		}
		i = end
	}
	return shown
}

// shortened shortens hash parts, and replaces the directory of the test.
func (q *questionStore) shortened(text string) string {
	return strings.ReplaceAll(storeHash.ReplaceAllString(text, "$1..."), mustAbs(q.t, "."), "/home/ann")
}

var storeHash = regexp.MustCompile(`(/nix/store/[0-9a-z]{3})[0-9a-z]{29}`)

// ask runs a command with the store, and returns its exit code and output.
func (q *questionStore) ask(command string) (int, string) {
	args := strings.Fields(q.fill(command, false))
	if args[0] == "monitor" { // it runs a command, which writes to the same stream
		cmd := exec.CommandContext(q.t.Context(), "pix", args...)
		out, err := cmd.CombinedOutput()
		if cmd.ProcessState == nil {
			q.t.Fatal(err)
		}
		return cmd.ProcessState.ExitCode(), string(out)
	}
	args = append([]string{"--store", "./store"}, args...)
	var stdout, stderr bytes.Buffer
	code := run(args, strings.NewReader(""), &stdout, &stderr, func(string) string { return "" })
	return code, stdout.String() + stderr.String()
}

// fill replaces the names in braces, for a regular expression by quoted values.
func (q *questionStore) fill(text string, quoted bool) string {
	var pairs []string
	for name, value := range q.args {
		if quoted {
			value = regexp.QuoteMeta(value)
		}
		pairs = append(pairs, "{"+name+"}", value)
	}
	return strings.NewReplacer(pairs...).Replace(text)
}
