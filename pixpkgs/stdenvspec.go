package pixpkgs

// A StdenvSpec describes a package as the argument of stdenv.mkDerivation in nixpkgs does. Each field is
// the attribute of the same name, except Attrs, which has all other attributes. The manual of nixpkgs
// describes them.
//
// Fields of type any, and elements of []any, accept the values of a [Spec]. A package in a list of
// dependencies stands for its output "dev" if it has one. [Package.Out] selects another output.
type StdenvSpec struct {
	// Pname and Version are the variables with these names, and "<Pname>-<Version>" is the name.
	Pname, Version string
	// Name is the name instead. Illegal characters in either become "-".
	Name string

	Src     any
	Srcs    []any
	Patches []any
	// Outputs are the names of the outputs; the first is the default output. Nil means "out".
	Outputs []string

	// Dependencies of the build, by the platform on which they run and for which they create code.
	NativeBuildInputs, BuildInputs                                  []any
	DepsBuildBuild, DepsBuildTarget, DepsHostHost, DepsTargetTarget []any
	// Dependencies of the build and of packages that depend on this one.
	PropagatedNativeBuildInputs, PropagatedBuildInputs  []any
	DepsBuildBuildPropagated, DepsBuildTargetPropagated []any
	DepsHostHostPropagated, DepsTargetTargetPropagated  []any
	// Dependencies of tests, which count only with DoCheck or DoInstallCheck.
	NativeCheckInputs, CheckInputs               []any
	NativeInstallCheckInputs, InstallCheckInputs []any

	ConfigureFlags, CMakeFlags, MesonFlags []any
	// ConfigurePlatforms are the flags "build", "host" and "target" to add to ConfigureFlags. Nil means
	// the default of the [Stdenv].
	ConfigurePlatforms []string
	// HardeningEnable and HardeningDisable change the hardening flags of the compiler.
	HardeningEnable, HardeningDisable []string

	// Attrs may have an explicit false for each of these, which overrides a default of the Stdenv.
	DoCheck, DoInstallCheck, StrictDeps, EnableParallelBuilding, SeparateDebugInfo bool

	// RealBuilder is the builder instead of the shell of the Stdenv, Args are its arguments instead of
	// the usual ones, and Builder is the build script instead of default-builder.sh.
	RealBuilder any
	Args        []any
	Builder     any

	// Env are attributes that the builder receives as environment variables also with StructuredAttrs.
	Env map[string]any
	// MainProgram is meta.mainProgram, which the builder sees as the variable NIX_MAIN_PROGRAM.
	MainProgram string
	// Attrs are all other attributes, such as "postInstall". A nil value in Env or Attrs is ignored.
	Attrs map[string]any
	// StructuredAttrs passes all attributes as JSON; see [Spec.Attrs].
	StructuredAttrs bool

	// The references that are allowed or not.
	OutputReferences
	// OutputChecks are checks of single outputs, by name. They require StructuredAttrs.
	OutputChecks map[string]OutputReferences

	// The output as in a [Spec].
	OutputHash, OutputHashAlgo, OutputHashMode string
	ContentAddressed, Impure                   bool
}

// OutputReferences are the references that an output may have, itself or in its closure, and the references
// that it must not have. Nil means any. They do not become dependencies.
type OutputReferences struct {
	AllowedReferences, AllowedRequisites, DisallowedReferences, DisallowedRequisites []any
}

// dependencyLists are the attributes with dependencies.
var dependencyLists = []string{
	"depsBuildBuild", "nativeBuildInputs", "depsBuildTarget", "depsHostHost", "buildInputs", "depsTargetTarget",
	"depsBuildBuildPropagated", "propagatedNativeBuildInputs", "depsBuildTargetPropagated",
	"depsHostHostPropagated", "propagatedBuildInputs", "depsTargetTargetPropagated",
}

// dependencies returns the dependencies in the order of dependencyLists, without the dependencies of tests.
func (s *StdenvSpec) dependencies() [][]any {
	return [][]any{
		s.DepsBuildBuild, s.NativeBuildInputs, s.DepsBuildTarget, s.DepsHostHost, s.BuildInputs, s.DepsTargetTarget,
		s.DepsBuildBuildPropagated, s.PropagatedNativeBuildInputs, s.DepsBuildTargetPropagated,
		s.DepsHostHostPropagated, s.PropagatedBuildInputs, s.DepsTargetTargetPropagated,
	}
}

// stdenvFields has the fields of a [StdenvSpec] for attributes of mkDerivation, and where else an attribute
// of a derivation comes from.
var stdenvFields = map[string]string{
	"name": "Name", "pname": "Pname", "version": "Version", "src": "Src", "srcs": "Srcs", "patches": "Patches", "outputs": "Outputs",
	"nativeBuildInputs": "NativeBuildInputs", "buildInputs": "BuildInputs",
	"depsBuildBuild": "DepsBuildBuild", "depsBuildTarget": "DepsBuildTarget", "depsHostHost": "DepsHostHost", "depsTargetTarget": "DepsTargetTarget",
	"propagatedNativeBuildInputs": "PropagatedNativeBuildInputs", "propagatedBuildInputs": "PropagatedBuildInputs",
	"depsBuildBuildPropagated": "DepsBuildBuildPropagated", "depsBuildTargetPropagated": "DepsBuildTargetPropagated",
	"depsHostHostPropagated": "DepsHostHostPropagated", "depsTargetTargetPropagated": "DepsTargetTargetPropagated",
	"nativeCheckInputs": "NativeCheckInputs", "checkInputs": "CheckInputs",
	"nativeInstallCheckInputs": "NativeInstallCheckInputs", "installCheckInputs": "InstallCheckInputs",
	"configureFlags": "ConfigureFlags", "cmakeFlags": "CMakeFlags", "mesonFlags": "MesonFlags", "configurePlatforms": "ConfigurePlatforms",
	"hardeningEnable": "HardeningEnable", "hardeningDisable": "HardeningDisable", "NIX_HARDENING_ENABLE": "HardeningEnable",
	"doCheck": "DoCheck", "doInstallCheck": "DoInstallCheck", "strictDeps": "StrictDeps",
	"enableParallelBuilding": "EnableParallelBuilding", "separateDebugInfo": "SeparateDebugInfo",
	"realBuilder": "RealBuilder", "args": "Args", "builder": "Builder", "env": "Env", "meta": "MainProgram",
	"__structuredAttrs": "StructuredAttrs", "__contentAddressed": "ContentAddressed", "__impure": "Impure",
	"allowedReferences": "AllowedReferences", "allowedRequisites": "AllowedRequisites",
	"disallowedReferences": "DisallowedReferences", "disallowedRequisites": "DisallowedRequisites", "outputChecks": "OutputChecks",
	"outputHash": "OutputHash", "outputHashAlgo": "OutputHashAlgo", "outputHashMode": "OutputHashMode",
	"stdenv": "Package of the Stdenv", "system": "System of the Stdenv", "userHook": "UserHook of the Stdenv",
}
