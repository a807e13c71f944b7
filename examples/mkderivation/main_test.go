package main

func Example() {
	*source = "../../testdata/corepkgs"
	main()
	// Output:
	// /nix/store/ki9acp3kmqbbpmch02jfjwqr7x47aszb-gnu-config-2024-01-01.drv true
	// /nix/store/z45fmivzd142mmadgklq97rpbx58zglq-update-autotools-gnu-config-scripts-hook.drv true
}
