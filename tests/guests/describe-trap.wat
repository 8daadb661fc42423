;; Traps in describe. The host must refuse it at that stage and name the trap (unreachable).
(func $describe (param $settings i32) (param $settings-length i32) (result i32)
  unreachable)
