;; Never returns from resolve. The host must stop it and name the limit on fuel.
(func $resolve (param $batch i32) (result i32)
  (loop $forever (br $forever))
  unreachable)
