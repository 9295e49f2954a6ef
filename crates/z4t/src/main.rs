//! The program: all of it stands in the library of the same name, which the fuzz
//! targets use as well.

fn main() -> std::process::ExitCode {
    z4t::main()
}
