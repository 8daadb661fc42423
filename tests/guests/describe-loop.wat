;; Never returns from describe. The host must refuse it at that stage and name the limit on fuel.
(func $describe (param $settings i32) (param $settings-length i32) (result i32)
  (loop $forever (br $forever))
  unreachable)
